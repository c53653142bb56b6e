"""What is kept of the numbers in a value, to find and compare what is nearly the same."""
