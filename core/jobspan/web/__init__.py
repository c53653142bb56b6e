"""Web Workers: each a Python interpreter of its own, in the browser or in node, beside the caller's."""
