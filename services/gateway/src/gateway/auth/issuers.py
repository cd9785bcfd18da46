"""Tokens of others: issuers that the operator trusts, each with its own keys and algorithms."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from structlog.stdlib import BoundLogger

from events.errors import Unauthenticated
from events.identity import Principal
from gateway.auth.claims import verified_claims
from gateway.auth.credentials import SCOPES, Identity
from gateway.auth.issuer import Issuer
from gateway.auth.jwks import Jwks
from gateway.auth.jwt_header import Unverified
from gateway.auth.roles import ROLES

TENANT = re.compile(r"[A-Za-z0-9._-]{1,64}")
# A token for another purpose (`logout+jwt`, `dpop+jwt`) must not open the door.
_TYPES = frozenset({None, "JWT", "at+jwt"})


class Issuers:
    def __init__(self, trusted: Sequence[Issuer], session: aiohttp.ClientSession, log: BoundLogger) -> None:
        self._trusted = {
            issuer.issuer: (issuer, Jwks(issuer.jwks_url, issuer.algorithms, session, log)) for issuer in trusted
        }

    async def identity(self, token: str, unverified: Unverified) -> Identity:
        if unverified.issuer not in self._trusted:
            raise Unauthenticated("The token's issuer (iss) is not trusted here.")
        issuer, jwks = self._trusted[unverified.issuer]
        if unverified.algorithm not in issuer.algorithms:
            raise Unauthenticated("The token is signed with an algorithm that its issuer does not use.")
        if unverified.type not in _TYPES:
            raise Unauthenticated("The token is not an access token: its type (typ) is another.")
        key = await jwks.find(unverified.kid)
        if key is None:
            raise Unauthenticated("The token is signed with a key that its issuer does not publish.")
        if key.algorithm not in (None, unverified.algorithm):
            raise Unauthenticated("The token is signed with an algorithm that its key is not for.")
        claims = verified_claims(
            token, key.key, algorithms=[unverified.algorithm], issuer=issuer.issuer, audience=issuer.audience
        )
        subject = _subject(issuer.issuer, claims["sub"])
        principal = Principal(_tenant(issuer, claims), subject, _scopes(issuer, claims), int(claims["exp"]))
        return Identity(principal, frozenset({subject}))

    async def close(self) -> None:
        for _, jwks in self._trusted.values():
            await jwks.close()


def _subject(issuer: str, subject: str) -> str:
    """One person of one issuer. Some issuers put an address there, so it is not repeated."""
    return f"user:{hashlib.sha256(f'{issuer} {subject}'.encode()).hexdigest()[:32]}"


def _tenant(issuer: Issuer, claims: Mapping[str, Any]) -> str:
    tenant = issuer.tenant if issuer.tenant_claim is None else claims.get(issuer.tenant_claim)
    if not isinstance(tenant, str) or TENANT.fullmatch(tenant) is None:
        raise Unauthenticated(f"The token's tenant ({issuer.tenant_claim}) is missing or malformed.")
    return tenant


def _scopes(issuer: Issuer, claims: Mapping[str, Any]) -> frozenset[str]:
    named = _words(claims.get(issuer.role_claim)) if issuer.role_claim else []
    by_role = (ROLES[issuer.roles[name]] for name in named if name in issuer.roles)
    by_name = SCOPES & set(_words(claims.get(issuer.scope_claim))) if issuer.scope_claim else frozenset()
    return by_name.union(*by_role)


def _words(value: object) -> list[str]:
    match value:
        case str():
            return value.split()
        case list():
            return [word for word in value if isinstance(word, str)]
        case _:
            return []
