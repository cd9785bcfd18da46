"""The spine that every service shares: envelope, catalog, log, broker, blobs, identity, telemetry."""
