-- Tickets.

-- name: keep_ticket
INSERT INTO gateway.tickets (hash, socket, tenant, subject, scopes, channels, credential_expires_at, ended_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING made_at;

-- name: redeem_ticket
-- Of two who come with the same ticket, one gets the row. $2: seconds that a ticket is good for.
DELETE FROM gateway.tickets
WHERE hash = $1
RETURNING socket, tenant, subject, scopes, channels, credential_expires_at, ended_by,
    extract(epoch FROM now() - made_at)::float8 AS age, made_at > now() - make_interval(secs => $2) AS fresh;

-- name: sweep_tickets
DELETE FROM gateway.tickets
WHERE made_at <= now() - make_interval(secs => $1);
