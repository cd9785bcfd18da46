"""Server-sent events: `GET /api/v1/connection/sse`, for who has nothing but HTTP, and for a browser's `EventSource`."""
