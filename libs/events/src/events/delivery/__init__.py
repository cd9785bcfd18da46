"""What goes from the log to the broker and back, and what becomes of a message that nobody can handle."""
