"""What an operator can say to `millrace`: one file for each group of commands."""
