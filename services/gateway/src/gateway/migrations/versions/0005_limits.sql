-- Creates the limiter.
SELECT;
