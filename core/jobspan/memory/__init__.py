"""What is kept from one call, one loop and one process to the next."""
