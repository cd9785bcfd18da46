-- What a client sends as an idempotency key may be a secret by mistake: only its hash is kept, here for the rows that have it
-- in clear.
UPDATE gateway.keys SET idempotency_key = encode(sha256(convert_to(idempotency_key, 'UTF8')), 'hex')
WHERE idempotency_key IS NOT NULL;
