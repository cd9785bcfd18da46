"""Holds the domains: consumes uploads, decides, appends to the log, runs workflows."""
