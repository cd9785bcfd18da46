"""Turns bytes into blobs and one durable event. It knows no domain."""
