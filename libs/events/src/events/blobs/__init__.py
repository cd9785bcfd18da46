"""Bytes by key, on local disk or in an object store."""
