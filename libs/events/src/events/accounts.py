"""What is said of accounts: audit facts of the gateway. Ids only, never an address. Streams are
`user:<id>`, `invitation:<id>` and `key:<id>`."""

from collections.abc import Mapping
from typing import Literal
from uuid import UUID

from events.catalog import Payload, event


@event("user.registered")
class UserRegistered(Payload):
    user_id: UUID
    role: str
    invitation_id: UUID | None  # None: the user made the tenant


@event("user.locked_out")
class UserLockedOut(Payload):
    """Too many wrong passwords in a row. Said once per lockout."""

    user_id: UUID
    failures: int


@event("user.invited")
class UserInvited(Payload):
    """Somebody may join the tenant. Nobody has yet."""

    invitation_id: UUID
    role: str
    invited_by: str  # `user:<id>` or `key:<id>`


@event("session.ended")
class SessionEnded(Payload):
    session_id: UUID
    user_id: UUID
    reason: Literal["logout"]


@event("session.reuse_detected")
class SessionReuseDetected(Payload):
    """A refresh token was used that had been exchanged before: it is in two hands, so the session was ended."""

    session_id: UUID
    user_id: UUID


@event("key.created")
class KeyCreated(Payload):
    key_id: str  # the public part of the key
    scopes: list[str]
    made_by: str  # `user:<id>` or `key:<id>`


@event("key.rotated")
class KeyRotated(Payload):
    """The key ends after the overlap; its successor is good already."""

    key_id: str
    successor_id: str
    rotated_by: str
    overlap_seconds: float


@event("key.revoked")
class KeyRevoked(Payload):
    key_id: str
    revoked_by: str


# All of them: the intake appends them as they are, and nothing follows from them.
FACTS: Mapping[str, type[Payload]] = {
    fact.event_type: fact
    for fact in (
        *(UserRegistered, UserLockedOut, UserInvited, SessionEnded, SessionReuseDetected),
        *(KeyCreated, KeyRotated, KeyRevoked),
    )
}
