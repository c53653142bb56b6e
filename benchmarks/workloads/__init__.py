"""What the contestants run; imported only in their own processes."""
