"""Holds sockets: log in, frames out. It never decodes a payload."""
