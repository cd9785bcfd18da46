"""Jobs: what they go through, and how they are asked for."""
