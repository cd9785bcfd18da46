"""What a file is: its text, its records, its columns."""
