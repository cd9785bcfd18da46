"""Open WebSockets and streams: how many there may be, and when they end."""
