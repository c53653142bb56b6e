"""How objects become bytes."""
