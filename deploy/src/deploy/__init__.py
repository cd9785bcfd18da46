"""Runs the four services: embedded in one process, or as a stack of processes."""
