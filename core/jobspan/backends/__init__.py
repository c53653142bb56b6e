"""What runs tasks: one file for each backend."""
