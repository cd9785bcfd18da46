-- What requests that come again are known by.
ALTER TABLE gateway.users
    ADD COLUMN idempotency_key text,  -- its hash: what the registration was sent under
    ADD COLUMN request_hash bytea;  -- of what was asked for then, without the password

ALTER TABLE gateway.invitations
    ADD COLUMN idempotency_key text,  -- its hash
    ADD COLUMN used_at timestamptz;  -- a used one is remembered until it would have expired

-- One idempotency key of one inviter, one invitation.
CREATE UNIQUE INDEX invitations_by_idempotency_key ON gateway.invitations (tenant, invited_by, idempotency_key)
WHERE idempotency_key IS NOT NULL;
