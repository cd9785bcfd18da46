"""Holds sockets: log in, frames out. It never decodes what a payload says."""
