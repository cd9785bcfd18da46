"""Cleaning one chunk, independent of the others."""
