"""What every service's HTTP side does the same way."""
