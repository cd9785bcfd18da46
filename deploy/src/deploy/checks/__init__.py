"""What `millrace doctor` looks at: one file for each part."""
