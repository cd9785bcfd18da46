"""What the whole API is, for machines and for people."""
