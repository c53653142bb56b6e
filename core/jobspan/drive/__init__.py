"""Drives a run: one conversation between scheduler, session and consumer, and its drivers."""
