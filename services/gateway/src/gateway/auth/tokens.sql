-- name: session_is_open
SELECT EXISTS (
    SELECT FROM gateway.sessions WHERE id = $1 AND user_id = $2 AND ended_at IS NULL AND expires_at > now()
);
