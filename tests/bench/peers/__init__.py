"""What the engine is measured against: each peer is a program of its own, with packages of its own."""
