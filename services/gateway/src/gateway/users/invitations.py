"""Invitations into a tenant: a token that is shown once, and good for one registration."""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from events.accounts import UserInvited
from events.database import Pool, load_queries
from events.errors import FieldError, Forbidden, InvalidInput
from events.identity import Principal
from events.ids import new_id
from events.log import Connection
from events.outbox import Outbox
from gateway.audit import audit_event
from gateway.auth.roles import ROLES, Role


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
    def __init__(self, pool: Pool, outbox: Outbox, *, seconds: float) -> None:
        self._pool = pool
        self._outbox = outbox
        self._seconds = seconds
        self._queries = load_queries("gateway.users", "queries.sql")

    async def invite(self, principal: Principal, role: Role) -> Invitation:
        if not ROLES[role] <= principal.scopes:
            raise Forbidden(f"The role {role} may do what your credential may not.")
        id_, token = new_id(), f"mr_invite_{secrets.token_urlsafe(32)}"
        event = audit_event(
            UserInvited(invitation_id=id_, role=role, invited_by=principal.subject),
            tenant=principal.tenant,
            about=("invitation", id_),
        )
        async with self._pool.acquire() as connection, connection.transaction():
            expires_at = await connection.fetchval(
                self._queries["insert_invitation"],
                id_,
                _hash(token),
                principal.tenant,
                role,
                principal.subject,
                self._seconds,
            )
            await self._outbox.open(connection, event)
        self._outbox.publish_soon(event)
        return Invitation(id_, token, role, expires_at)

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
