"""The bytes that a client sends, and what it says of them."""
