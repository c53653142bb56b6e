"""Those who follow a run: what they show, count and keep of it."""
