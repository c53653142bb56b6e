"""What stands for the content of objects of packages that are not imported here: a module for each package."""
