"""Proposing a recipe for a file, and what it would do to it, exactly."""
