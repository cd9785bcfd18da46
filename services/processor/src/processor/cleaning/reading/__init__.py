"""What a file is: its text, its records, its columns, with how sure that is and why."""
