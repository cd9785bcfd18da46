"""Keeping a socket open with a fresh credential: the gateway decides, since sockets are its own to end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from uuid import UUID

import aiohttp
import msgspec

from events.errors import Unavailable
from notifier.frames import CloseCode, Violation

_CLIENT_HEADER = "X-Socket-Client"
_TIMEOUT = aiohttp.ClientTimeout(total=5.0, sock_connect=2.0)


@dataclass(frozen=True, slots=True)
class Lease:
    """How long the gateway keeps a socket open."""

    socket: UUID  # what it calls it
    expires_at: float  # unix seconds
    client: str = ""  # whose it is, as the gateway has sealed it: wrong tokens count for that address, and not for ours


class _Terms(msgspec.Struct):
    expires_at: datetime | None


class _Problem(msgspec.Struct):
    code: str = ""


class Refreshing:
    def __init__(self, session: aiohttp.ClientSession, gateway_url: str) -> None:
        self._session = session
        self._url = gateway_url.rstrip("/")

    async def refresh(self, lease: Lease, token: str) -> Lease | None:
        """What it is from now on, None for no end. Raise a `Violation` if the token is no good for this socket."""
        headers = {"Authorization": f"Bearer {token}", _CLIENT_HEADER: lease.client}
        try:
            async with self._session.post(
                f"{self._url}/api/v1/auth/sockets/{lease.socket}/refresh",
                headers=headers,
                allow_redirects=False,
            ) as answer:
                return _read(lease, HTTPStatus(answer.status), await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as failed:
            raise _unavailable() from failed


@asynccontextmanager
async def open_refreshing(gateway_url: str | None) -> AsyncIterator[Refreshing | None]:
    """None where nobody has said where the gateway is."""
    if gateway_url is None:
        yield None
        return
    async with aiohttp.ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Refreshing(session, gateway_url)


def _read(lease: Lease, status: HTTPStatus, body: bytes) -> Lease | None:
    if status is HTTPStatus.OK:
        expires_at = msgspec.json.decode(body, type=_Terms).expires_at
        return None if expires_at is None else replace(lease, expires_at=expires_at.timestamp())
    if status is HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _unavailable()
    if msgspec.json.decode(body, type=_Problem).code == "token_expired":
        raise Violation(CloseCode.EXPIRED, "token expired")
    raise Violation(CloseCode.INVALID_TOKEN, "invalid token")


def _unavailable() -> Unavailable:
    return Unavailable("The gateway cannot refresh the connection now. Try again.")
