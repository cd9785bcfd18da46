"""Files as clients have sent them, opened for a step as plain bytes."""
