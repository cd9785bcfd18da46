"""Users and their tokens, wired."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from fastapi import APIRouter

from events.lifecycle import Parts
from events.outbox import Outbox
from gateway.auth.credentials import Authenticator
from gateway.auth.issuers import Issuers
from gateway.auth.revocations import Revocations
from gateway.auth.routes import jwks_routes
from gateway.auth.signing_keys import LEAD_SECONDS, SigningKeys
from gateway.auth.tokens import AccessTokens, TokenAuthenticator
from gateway.auth.verified import Verified
from gateway.settings import GatewaySettings
from gateway.users.invitations import Invitations
from gateway.users.passwords import Passwords
from gateway.users.refresh_tokens import RefreshTokens
from gateway.users.routes import user_routes
from gateway.users.sessions import Sessions
from gateway.users.users import Users


@dataclass(frozen=True, slots=True)
class Accounts:
    authenticator: Authenticator
    routes: Sequence[APIRouter]
    loops: Mapping[str, Callable[[], Awaitable[bool]]]  # what to run again and again


@asynccontextmanager
async def open_accounts(
    settings: GatewaySettings,
    parts: Parts,
    session: aiohttp.ClientSession,
    revocations: Revocations,
    outbox: Outbox,
) -> AsyncIterator[Accounts]:
    pepper = settings.key_pepper.get_secret_value()
    keys = SigningKeys(
        parts.pool,
        pepper,
        period=settings.signing_key_seconds,
        overlap=settings.access_token_seconds + LEAD_SECONDS,
    )
    tokens = AccessTokens(
        parts.pool,
        keys,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        seconds=settings.access_token_seconds,
    )
    sessions = Sessions(
        parts, tokens, RefreshTokens(pepper), revocations, outbox, idle_seconds=settings.session_idle_seconds
    )
    invitations = Invitations(parts.pool, outbox, seconds=settings.invitation_seconds)
    issuers = Issuers(settings.issuers, session, parts.telemetry.log)
    verified = Verified(lambda: revocations.trusted)
    try:
        with (
            Passwords(parts.telemetry, threads=settings.password_threads, queue=settings.password_queue) as passwords,
            revocations.listening(verified.ended),
        ):
            users = Users(parts, settings, passwords, sessions, invitations, outbox)
            yield Accounts(
                TokenAuthenticator(tokens, issuers, verified),
                [user_routes(users, sessions, invitations), jwks_routes(keys)],
                {"signing_keys.rotate": keys.rotate, "sessions.sweep": sessions.sweep},
            )
    finally:
        await issuers.close()
