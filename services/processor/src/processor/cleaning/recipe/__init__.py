"""What is to be done to a table, as a document that can be kept, read and done again."""
