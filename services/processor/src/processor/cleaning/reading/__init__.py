"""What a CSV file is: decided from samples of it, and said with how sure that is and why."""
