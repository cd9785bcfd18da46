"""What countries, months and units are called."""
