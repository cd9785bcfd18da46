"""The protocols that clients speak to the notifier."""
