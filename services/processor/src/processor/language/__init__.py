"""What a workflow may say: its document, its expressions, and everything that can be wrong with them. No I/O."""
