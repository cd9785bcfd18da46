"""What a clean has done to a file: before and after, as JSON and as a page for people."""
