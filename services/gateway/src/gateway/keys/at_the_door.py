"""Whose key it is that is shown at the door, and when each was last used."""

import asyncio
import hmac

from events.database import Pool, load_queries
from events.errors import Unauthenticated
from events.identity import Principal
from gateway.auth.credentials import Identity
from gateway.auth.keys import parse_key
from gateway.auth.verified import Verified
from gateway.keys.keys import Keys


class KeysAtTheDoor:
    def __init__(self, pool: Pool, keys: Keys, verified: Verified) -> None:
        self._pool = pool
        self._keys = keys
        self._verified = verified
        self._used: dict[str, float] = {}  # since the last note: when, in the loop's time
        self._queries = load_queries("gateway.keys", "queries.sql")

    async def authenticate(self, credential: str) -> Identity:
        identity = self._verified.find(credential)
        if identity is None:
            heard = self._verified.heard
            identity = await self._look_up(credential)
            self._verified.remember(credential, identity, heard=heard)
        self._used[identity.principal.subject] = asyncio.get_running_loop().time()
        return identity

    async def note_uses(self) -> bool:
        """Once in a while for all: a write for each request would cost more than the request."""
        used, self._used = self._used, {}
        if used:
            now = asyncio.get_running_loop().time()
            keys = [subject.removeprefix("key:") for subject in used]
            await self._pool.execute(self._queries["note_use"], keys, [now - at for at in used.values()])
        return False

    async def _look_up(self, credential: str) -> Identity:
        key = parse_key(credential)  # a typo is told without asking anybody
        row = await self._pool.fetchrow(self._queries["known_key"], key.id)
        if row is None or not hmac.compare_digest(row["hash"], self._keys.hash(credential)):
            raise Unauthenticated("The API key is unknown.")
        if row["revoked_at"] is not None:
            raise Unauthenticated("The API key has been revoked.")
        if row["expired"]:
            raise Unauthenticated("The API key has expired.")
        expires_at = None if row["expires_at"] is None else int(row["expires_at"].timestamp())
        subject = f"key:{key.id}"
        return Identity(Principal(row["tenant"], subject, frozenset(row["scopes"]), expires_at), frozenset({subject}))
