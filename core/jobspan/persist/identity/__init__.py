"""What functions and classes are, for keys: see `identify`."""
