"""The cache of calls: `Memory`, and what it needs to find, keep and explain results."""
