"""API keys: made, listed, rotated, revoked, and recognised at the door."""
