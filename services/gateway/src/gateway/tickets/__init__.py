"""What opens one WebSocket, once, for who cannot send headers."""
