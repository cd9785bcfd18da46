"""Users, their tokens, and keys, wired."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from events.delivery.outbox import Outbox
from events.lifecycle import Parts
from events.web.openapi import DescribedRoutes
from gateway.auth.credentials import Authenticator
from gateway.auth.issuers import Issuers
from gateway.auth.revocations import Revocations
from gateway.auth.routes import jwks_routes
from gateway.auth.signing_keys import LEAD_SECONDS, SigningKeys
from gateway.auth.tokens import AccessTokens, TokenAuthenticator
from gateway.auth.verified import Verified
from gateway.keys.at_the_door import KeysAtTheDoor
from gateway.keys.keys import Keys
from gateway.keys.routes import key_routes
from gateway.settings import GatewaySettings
from gateway.users.invitations import Invitations
from gateway.users.passwords import Passwords
from gateway.users.refresh_tokens import RefreshTokens
from gateway.users.routes import user_routes
from gateway.users.sessions import Sessions
from gateway.users.users import Users

_SWEEP_SECONDS = 10.0
_EXPIRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Accounts:
    keys: Authenticator
    tokens: Authenticator
    routes: Sequence[DescribedRoutes]
    loops: Mapping[str, tuple[Callable[[], Awaitable[bool]], float]]  # what to run again after so many seconds


@asynccontextmanager
async def open_accounts(
    settings: GatewaySettings,
    parts: Parts,
    session: aiohttp.ClientSession,
    revocations: Revocations,
    outbox: Outbox,
) -> AsyncIterator[Accounts]:
    pepper = settings.key_pepper.get_secret_value()
    signing_keys = SigningKeys(
        parts.pool,
        pepper,
        period=settings.signing_key_seconds,
        overlap=settings.access_token_seconds + LEAD_SECONDS,
    )
    tokens = AccessTokens(
        parts.pool,
        signing_keys,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        seconds=settings.access_token_seconds,
    )
    sessions = Sessions(
        parts, tokens, RefreshTokens(pepper), revocations, outbox, idle_seconds=settings.session_idle_seconds
    )
    invitations = Invitations(parts.pool, pepper, outbox, seconds=settings.invitation_seconds)
    issuers = Issuers(settings.issuers, session, parts.telemetry.log)
    verified = Verified(lambda: revocations.trusted)
    keys = Keys(parts.pool, pepper, revocations, outbox)
    at_the_door = KeysAtTheDoor(parts.pool, keys, verified)
    try:
        with (
            Passwords(parts.telemetry, threads=settings.password_threads, queue=settings.password_queue) as passwords,
            revocations.listening(verified.ended),
        ):
            users = Users(parts, settings, passwords, sessions, invitations, outbox)
            yield Accounts(
                at_the_door,
                TokenAuthenticator(tokens, issuers, verified),
                [user_routes(users, sessions, invitations), key_routes(keys), jwks_routes(signing_keys)],
                {
                    "signing_keys.rotate": (signing_keys.rotate, _SWEEP_SECONDS),
                    "sessions.sweep": (sessions.sweep, _SWEEP_SECONDS),
                    "keys.end_expired": (keys.end_expired, _EXPIRY_SECONDS),
                    "keys.note_uses": (at_the_door.note_uses, _SWEEP_SECONDS),
                },
            )
    finally:
        await issuers.close()
