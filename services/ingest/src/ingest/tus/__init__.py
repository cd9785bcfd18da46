"""The tus protocol, version 1.0, over files."""
