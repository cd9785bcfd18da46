"""API keys: a secret is shown once and kept nowhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from events.accounts import KeyCreated, KeyRevoked, KeyRotated
from events.database import Pool, load_queries
from events.delivery.outbox import Outbox
from events.envelope import Event
from events.errors import Conflict, CursorExpired, FieldError, Forbidden, NotFound
from events.identity import Principal
from events.log.log import Connection
from gateway.audit import audit_event
from gateway.auth.derived import derived_key
from gateway.auth.keys import ApiKey, derive_key, hash_key, new_key, parse_key
from gateway.auth.revocations import Revocations
from gateway.repeats import check_same, known_as, request_hash, seed_of

# That a key which rotates itself lasts at least, to ask again if the answer gets lost.
_TO_ASK_AGAIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Wish:
    name: str
    scopes: frozenset[str]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Key:
    id: str
    name: str
    scopes: Sequence[str]
    made_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Made:
    key: Key
    secret: ApiKey


class Keys:
    def __init__(self, pool: Pool, pepper: str, revocations: Revocations, outbox: Outbox) -> None:
        self._pool = pool
        self._hashing = derived_key(pepper, "api keys")
        self._deriving = derived_key(pepper, "secrets of api keys that may be asked for again")
        self._revocations = revocations
        self._outbox = outbox
        self._queries = load_queries("gateway.keys", "queries.sql")

    def hash(self, credential: str) -> bytes:
        return hash_key(credential, self._hashing)

    async def make(self, maker: Principal, wish: Wish, idempotency_key: str | None) -> Made:
        _check_scopes(maker, wish.scopes)
        asked = request_hash("make", wish.name, *sorted(wish.scopes), wish.expires_at and wish.expires_at.isoformat())
        async with self._pool.acquire() as connection, connection.transaction():
            made, event = await self._insert(connection, maker, wish, idempotency_key, asked)
        return self._told(made, event)

    async def rotate(self, maker: Principal, id_: str, overlap: float, idempotency_key: str | None) -> Made:
        """Another key for the same, with as much time as the old one was given. The old one ends after the overlap."""
        asked = request_hash("rotate", id_, overlap)
        if maker.subject == f"key:{id_}":
            overlap = max(overlap, _TO_ASK_AGAIN_SECONDS)
        async with self._pool.acquire() as connection, connection.transaction():
            old = await connection.fetchrow(self._queries["lock_key"], maker.tenant, id_)
            if old is None:
                raise _unknown()
            scopes = frozenset(old["scopes"])
            _check_scopes(maker, scopes)
            if idempotency_key is not None:
                again = await self._again(connection, maker, idempotency_key, asked)
                if again is not None:
                    return again
            if not old["is_good"]:
                raise Conflict("This key is revoked or has expired: make a new one.")
            wish = Wish(old["name"], scopes, old["expires_again_at"])
            made, _ = await self._insert(connection, maker, wish, idempotency_key, asked)
            await connection.execute(self._queries["expire_key"], id_, overlap)
            if not overlap:
                await self._revocations.announce(connection, f"key:{id_}")
            event = audit_event(
                KeyRotated(key_id=id_, successor_id=made.key.id, rotated_by=maker.subject, overlap_seconds=overlap),
                tenant=maker.tenant,
                about=("key", id_),
            )
            await self._outbox.open(connection, event)
        return self._told(made, event)

    async def revoke(self, revoker: Principal, id_: str) -> None:
        """Over on every replica within a second. Repeating it changes nothing."""
        async with self._pool.acquire() as connection, connection.transaction():
            if await connection.fetchval(self._queries["revoke_key"], revoker.tenant, id_) is None:
                await self._existing(connection, revoker.tenant, id_)
                return
            event = audit_event(
                KeyRevoked(key_id=id_, revoked_by=revoker.subject), tenant=revoker.tenant, about=("key", id_)
            )
            await self._outbox.open(connection, event)
            await self._revocations.announce(connection, f"key:{id_}")
        self._outbox.publish_soon(event)

    async def one(self, tenant: str, id_: str) -> Key:
        async with self._pool.acquire() as connection:
            return await self._existing(connection, tenant, id_)

    async def page(self, tenant: str, before: str | None, limit: int) -> list[Key]:
        if before is not None and await self._pool.fetchrow(self._queries["key"], tenant, before) is None:
            raise CursorExpired("There is no such key to go on behind. Begin without a cursor.")
        return [_key(row) for row in await self._pool.fetch(self._queries["keys"], tenant, before, limit)]

    async def end_expired(self) -> bool:
        """Tell everybody which keys' time has come: open sockets end with them."""
        async with self._pool.acquire() as connection, connection.transaction():
            ended = await connection.fetch(self._queries["end_expired_keys"])
            await self._revocations.announce(connection, *(f"key:{row['id']}" for row in ended))
        return False

    async def _insert(
        self, connection: Connection, maker: Principal, wish: Wish, idempotency_key: str | None, asked: bytes
    ) -> tuple[Made, Event | None]:
        """No event if the same was asked for before: then it is what was made then."""
        secret = parse_key(new_key()) if idempotency_key is None else self._derived(maker, idempotency_key)
        row = await connection.fetchrow(
            self._queries["insert_key"],
            secret.id,
            maker.tenant,
            self.hash(secret.text),
            wish.name,
            sorted(wish.scopes),
            maker.subject,
            known_as(idempotency_key),
            None if idempotency_key is None else asked,
            wish.expires_at,
        )
        if row is None:
            assert idempotency_key is not None
            again = await self._again(connection, maker, idempotency_key, asked)
            assert again is not None  # keys are revoked, never removed
            return again, None
        event = audit_event(
            KeyCreated(key_id=secret.id, scopes=sorted(wish.scopes), made_by=maker.subject),
            tenant=maker.tenant,
            about=("key", secret.id),
        )
        await self._outbox.open(connection, event)
        return Made(_key(row), secret), event

    async def _again(self, connection: Connection, maker: Principal, idempotency_key: str, asked: bytes) -> Made | None:
        """What was made under this idempotency key."""
        query = self._queries["key_by_idempotency_key"]
        row = await connection.fetchrow(query, maker.tenant, maker.subject, known_as(idempotency_key))
        if row is None:
            return None
        check_same(row["request_hash"], asked)
        if not row["is_fresh"]:
            raise Conflict("This Idempotency-Key was used more than a day ago. Use a new key for a new request.")
        return Made(_key(row), self._derived(maker, idempotency_key))

    def _derived(self, maker: Principal, idempotency_key: str) -> ApiKey:
        """The secret that belongs to an idempotency key: who repeats a request gets the same answer, and we need not
        keep it."""
        return derive_key(self._deriving, seed_of(maker, idempotency_key))

    async def _existing(self, connection: Connection, tenant: str, id_: str) -> Key:
        row = await connection.fetchrow(self._queries["key"], tenant, id_)
        if row is None:
            raise _unknown()
        return _key(row)

    def _told(self, made: Made, event: Event | None) -> Made:
        if event is not None:
            self._outbox.publish_soon(event)
        return made


def _check_scopes(maker: Principal, scopes: frozenset[str]) -> None:
    if beyond := sorted(scopes - maker.scopes):
        detail = f"Your credential does not have {', '.join(beyond)}, so no key that it makes can."
        raise Forbidden(detail, errors=[FieldError("body.scopes", "beyond_yours", detail)])


def _unknown() -> NotFound:
    return NotFound("There is no such key.")


def _key(row: asyncpg.Record) -> Key:
    return Key(**{name: row[name] for name in Key.__dataclass_fields__})
