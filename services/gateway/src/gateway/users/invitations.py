"""Invitations into a tenant: a token that is shown once, and good for one registration."""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from events.accounts import UserInvited
from events.database import Pool, load_queries
from events.errors import FieldError, Forbidden, IdempotencyKeyReused, InvalidInput
from events.identity import Principal
from events.ids import new_id
from events.log import Connection
from events.outbox import Outbox
from gateway.audit import audit_event
from gateway.auth.derived import derived_key
from gateway.auth.roles import ROLES, Role
from gateway.repeats import known_as, seed_of


class InvitationUnusable(InvalidInput):
    code, title = "invitation_unusable", "Invitation not usable"


@dataclass(frozen=True, slots=True)
class Invitation:
    id: UUID
    token: str = field(repr=False)
    role: Role
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Accepted:
    id: UUID
    tenant: str
    role: Role


class Invitations:
    def __init__(self, pool: Pool, pepper: str, outbox: Outbox, *, seconds: float) -> None:
        self._pool = pool
        self._deriving = derived_key(pepper, "invitations that may be asked for again")
        self._outbox = outbox
        self._seconds = seconds
        self._queries = load_queries("gateway.users", "queries.sql")

    async def invite(self, inviter: Principal, role: Role, idempotency_key: str | None = None) -> Invitation:
        if not ROLES[role] <= inviter.scopes:
            raise Forbidden(f"The role {role} may do what your credential may not.")
        token = self._token(inviter, idempotency_key)
        async with self._pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(
                self._queries["insert_invitation"],
                new_id(),
                _hash(token),
                inviter.tenant,
                role,
                inviter.subject,
                self._seconds,
                known_as(idempotency_key),
            )
            if row is None:
                return await self._again(connection, inviter, idempotency_key, role, token)
            event = audit_event(
                UserInvited(invitation_id=row["id"], role=role, invited_by=inviter.subject),
                tenant=inviter.tenant,
                about=("invitation", row["id"]),
            )
            await self._outbox.open(connection, event)
        self._outbox.publish_soon(event)
        return Invitation(row["id"], token, role, row["expires_at"])

    async def _again(
        self, connection: Connection, inviter: Principal, idempotency_key: str | None, role: Role, token: str
    ) -> Invitation:
        query = self._queries["invitation_by_idempotency_key"]
        row = await connection.fetchrow(query, inviter.tenant, inviter.subject, known_as(idempotency_key))
        assert row is not None  # it is remembered until it expires
        if row["role"] != role:
            raise IdempotencyKeyReused
        return Invitation(row["id"], token, role, row["expires_at"])

    def _token(self, inviter: Principal, idempotency_key: str | None) -> str:
        random = secrets.token_bytes(32)
        if idempotency_key is not None:
            random = hmac.digest(self._deriving, seed_of(inviter, idempotency_key), hashlib.sha256)
        return "mr_invite_" + urlsafe_b64encode(random).rstrip(b"=").decode()

    async def accept(self, connection: Connection, token: str) -> Accepted:
        """Use it up, in the transaction that lets its bearer in."""
        row = await connection.fetchrow(self._queries["accept_invitation"], _hash(token))
        if row is None:
            detail = "The invitation is unknown, used or expired. Ask for another one."
            raise InvitationUnusable(detail, errors=[FieldError("body.invitation", "invitation_unusable", detail)])
        return Accepted(**row)


def _hash(token: str) -> bytes:
    """Enough at rest: there is nothing to guess in 256 random bits."""
    return hashlib.sha256(token.encode()).digest()
