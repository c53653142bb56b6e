"""Backends in joblib's shape: the base classes to write one, and what runs one under jobspan."""
