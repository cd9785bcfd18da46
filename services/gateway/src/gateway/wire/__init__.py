"""HTTP/1.1 and WebSockets on the wire: requests are read, forwarded as they are, and answered as they come."""
