"""What is made of all chunks together."""
