-- Creates tickets.
SELECT;
