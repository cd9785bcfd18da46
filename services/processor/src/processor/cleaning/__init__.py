"""CSV files: what is in them."""
