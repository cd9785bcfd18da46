"""The published keys of one issuer, fetched when they are needed."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from structlog.stdlib import BoundLogger

from events.errors import Unavailable

_FRESH_SECONDS = 600.0
# An issuer that does not answer may stay away this long until its keys are no longer believed.
_STALE_SECONDS = 86_400.0
# Tokens with made-up kids must not make us ask the issuer each time, nor its errors.
_COOL_DOWN_SECONDS = 30.0
_MOST_BYTES = 256 * 1024
_MOST_KEYS = 100
_SMALLEST_RSA_BITS = 2048
_KINDS = frozenset({"RSA", "EC", "OKP"})  # not `oct`: a shared secret proves nothing
_TIMEOUT = aiohttp.ClientTimeout(total=5.0, sock_connect=2.0)


@dataclass(frozen=True, slots=True)
class PublishedKey:
    key: Any
    algorithm: str | None  # the only one that it is for, None for all that fit it


class Jwks:
    def __init__(
        self,
        url: str,
        algorithms: tuple[str, ...],
        session: aiohttp.ClientSession,
        log: BoundLogger,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._algorithms = algorithms
        self._session = session
        self._log = log
        self._clock = clock
        self._keys: Mapping[str, PublishedKey] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> PublishedKey | None:
        """The key of that name. Raises Unavailable if there are no keys that can be believed."""
        age = self._clock() - self._fetched_at
        if kid not in self._keys or age > _STALE_SECONDS:
            self._start_refresh()
            await self.settled()
        elif age > _FRESH_SECONDS:
            self._start_refresh()  # this one is good enough meanwhile
        if self._clock() - self._fetched_at > _STALE_SECONDS:
            detail = "The keys of the token's issuer cannot be had now. Try again."
            raise Unavailable(detail, headers={"Retry-After": "5"})
        return self._keys.get(kid)

    async def settled(self) -> None:
        """Wait for the fetch that is on its way, if any."""
        if self._fetching is not None:
            await asyncio.shield(self._fetching)  # others wait for the same answer

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _start_refresh(self) -> None:
        if self._fetching is None and self._clock() - self._tried_at > _COOL_DOWN_SECONDS:
            self._tried_at = self._clock()
            self._fetching = asyncio.create_task(self._fetch())

    async def _fetch(self) -> None:
        try:
            self._keys = self._usable(await self._read())
            self._fetched_at = self._clock()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as failed:
            self._log.warning("an issuer's keys cannot be had", url=self._url, error=repr(failed))
        finally:
            self._fetching = None

    async def _read(self) -> bytes:
        async with self._session.get(self._url, timeout=_TIMEOUT, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise ValueError(f"more than {_MOST_BYTES} bytes")
            return bytes(body)

    def _usable(self, body: bytes) -> Mapping[str, PublishedKey]:
        """The keys that may sign tokens. What else an issuer publishes is none of our business."""
        try:
            published = msgspec.json.decode(body, type=_KeySet).keys[:_MOST_KEYS]
        except (msgspec.MsgspecError, RecursionError) as wrong:
            raise ValueError("not a JSON Web Key Set") from wrong
        keys = ((entry.get("kid"), self._key(entry)) for entry in published if entry.get("use", "sig") == "sig")
        return {kid: key for kid, key in keys if isinstance(kid, str) and key is not None}

    def _key(self, entry: dict[str, Any]) -> PublishedKey | None:
        algorithm = entry.get("alg")
        if entry.get("kty") not in _KINDS or "d" in entry or algorithm not in (None, *self._algorithms):
            return None
        try:
            key = jwt.PyJWK(entry).key
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        if isinstance(key, RSAPublicKey) and key.key_size < _SMALLEST_RSA_BITS:
            return None
        return PublishedKey(key, algorithm)


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]
