-- Creates API keys.
SELECT;
