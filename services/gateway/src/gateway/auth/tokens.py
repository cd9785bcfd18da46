"""Access tokens: short-lived JWTs, ours (Ed25519) and those of issuers that the operator trusts."""

import time
from uuid import UUID

import jwt

from events.database import Pool, load_queries
from events.errors import Unauthenticated
from events.identity import Principal
from events.ids import new_id
from gateway.auth.claims import verified_claims
from gateway.auth.credentials import Identity
from gateway.auth.issuers import Issuers
from gateway.auth.jwt_header import Unverified, read_unverified
from gateway.auth.roles import ROLES, Role
from gateway.auth.signing_keys import SigningKeys
from gateway.auth.verified import Verified

ALGORITHM = "EdDSA"
_TYPE = "at+jwt"  # RFC 9068: no other JWT of ours could be taken for it


class AccessTokens:
    """Ours: who may be given one, and who shows one."""

    def __init__(self, pool: Pool, keys: SigningKeys, *, issuer: str, audience: str, seconds: int) -> None:
        self._pool = pool
        self._keys = keys
        self._queries = load_queries("gateway.auth", "tokens.sql")
        self.issuer = issuer
        self._audience = audience
        self.seconds = seconds

    async def issue(self, *, user: UUID, tenant: str, role: Role, session: UUID) -> str:
        key, now = await self._keys.current(), int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": self._audience,
            "sub": str(user),
            "iat": now,
            "exp": now + self.seconds,
            "jti": str(new_id()),
            "tenant": tenant,
            "role": role,
            "sid": str(session),
        }
        return jwt.encode(claims, key.private, ALGORITHM, headers={"kid": key.kid, "typ": _TYPE})

    async def identity(self, token: str, unverified: Unverified) -> Identity:
        if unverified.algorithm != ALGORITHM or unverified.type != _TYPE:
            raise Unauthenticated(f"The token is not an access token of this server: alg {ALGORITHM}, typ {_TYPE}.")
        key = await self._keys.find(unverified.kid)
        if key is None:
            raise Unauthenticated("The token is signed with a key that is unknown or outlived.")
        claims = verified_claims(token, key.public, algorithms=[ALGORITHM], issuer=self.issuer, audience=self._audience)
        user, session, role = UUID(claims["sub"]), UUID(claims["sid"]), claims["role"]
        if not await self._pool.fetchval(self._queries["session_is_open"], session, user):
            raise Unauthenticated("The token's session has ended. Log in again.")
        return Identity(
            Principal(claims["tenant"], f"user:{user}", ROLES[role], int(claims["exp"])),
            frozenset({f"session:{session}", f"user:{user}"}),
        )


class TokenAuthenticator:
    def __init__(self, own: AccessTokens, issuers: Issuers, verified: Verified) -> None:
        self._own = own
        self._issuers = issuers
        self._verified = verified

    async def authenticate(self, credential: str) -> Identity:
        known = self._verified.find(credential)
        if known is not None:
            return known
        heard = self._verified.heard
        unverified = read_unverified(credential)
        if unverified.issuer == self._own.issuer:
            identity = await self._own.identity(credential, unverified)
        else:
            identity = await self._issuers.identity(credential, unverified)
        self._verified.remember(credential, identity, heard=heard)
        return identity
