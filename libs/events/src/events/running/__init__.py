"""What keeps a process well, and how it ends."""
