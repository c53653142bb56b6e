"""Decides what runs when, and in which batches: facts in, orders out; no clock, thread or loop."""
