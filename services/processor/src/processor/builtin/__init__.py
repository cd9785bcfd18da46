"""Handlers that run on the service's loop: they talk to others, and wait more than they work."""
