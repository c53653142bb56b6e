"""`dump` and `load`: objects in files, whose large buffers can be mapped; see ``docs/file-format.md``."""
