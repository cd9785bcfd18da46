"""Backups: a dump of the database in one snapshot, the blobs beside it, and a manifest that tells of both."""
