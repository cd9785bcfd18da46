-- Creates users and their sessions.
SELECT;
