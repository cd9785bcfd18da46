"""Invitations into a tenant: a token that is shown once, and good for one registration."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from events.accounts import UserInvited
from events.database import Pool, load_queries
from events.delivery.outbox import Outbox
from events.errors import FieldError, Forbidden, IdempotencyKeyReused, InvalidInput
from events.identity import Principal
from events.ids import new_id
from events.log.log import Connection
from gateway.audit import audit_event
from gateway.auth.derived import derived_key
from gateway.auth.roles import ROLES, Role
from gateway.repeats import known_as


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
        self._deriving = derived_key(pepper, "invitations")
        self._outbox = outbox
        self._seconds = seconds
        self._queries = load_queries("gateway.users", "queries.sql")

    async def invite(self, inviter: Principal, role: Role, idempotency_key: str | None = None) -> Invitation:
        if not ROLES[role] <= inviter.scopes:
            raise Forbidden(f"The role {role} may do what your credential may not.")
        while True:
            made = await self._made(inviter, role, idempotency_key) or await self._again(inviter, role, idempotency_key)
            if made is not None:
                return made  # else the first one was swept away between the two

    async def _made(self, inviter: Principal, role: Role, idempotency_key: str | None) -> Invitation | None:
        """Nothing if the inviter has used the idempotency key before."""
        id_ = new_id()
        token = self._token(id_)
        async with self._pool.acquire() as connection, connection.transaction():
            expires_at = await connection.fetchval(
                self._queries["insert_invitation"],
                id_,
                _hash(token),
                inviter.tenant,
                role,
                inviter.subject,
                self._seconds,
                known_as(idempotency_key),
            )
            if expires_at is None:
                return None
            event = audit_event(
                UserInvited(invitation_id=id_, role=role, invited_by=inviter.subject),
                tenant=inviter.tenant,
                about=("invitation", id_),
            )
            await self._outbox.open(connection, event)
        self._outbox.publish_soon(event)
        return Invitation(id_, token, role, expires_at)

    async def _again(self, inviter: Principal, role: Role, idempotency_key: str | None) -> Invitation | None:
        query = self._queries["invitation_by_idempotency_key"]
        row = await self._pool.fetchrow(query, inviter.tenant, inviter.subject, known_as(idempotency_key))
        if row is None:
            return None
        if row["role"] != role:
            raise IdempotencyKeyReused
        return Invitation(row["id"], self._token(row["id"]), role, row["expires_at"])

    def _token(self, id_: UUID) -> str:
        """It can be told again, and no other invitation has the same."""
        mac = hmac.digest(self._deriving, id_.bytes, hashlib.sha256)
        return "mr_invite_" + urlsafe_b64encode(mac).rstrip(b"=").decode()

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
