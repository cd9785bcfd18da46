"""What a request shows at the door, and whom that makes it. Nothing of it is ever logged or passed on."""

import hmac
from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends, Request

from events.errors import Unauthenticated
from events.identity import Principal
from events.web.web import credential
from gateway.auth.jwt_header import looks_like_token
from gateway.auth.keys import ApiKey
from gateway.wire.heads import RequestHead

_LONGEST_CREDENTIAL = 8 * 1024

SCOPES = frozenset(
    {
        "uploads:write",
        "jobs:read",
        "jobs:write",
        "workflows:read",
        "workflows:write",
        "events:read",
        "meetings:write",
        "meetings:read",
        "auctions:read",
        "auctions:book",
        "auctions:admin",
        "keys:admin",
        "ops",
    }
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a credential makes its bearer, and what ends that."""

    principal: Principal
    ended_by: frozenset[str] = frozenset()  # revoking any of these ends it: `key:<id>`, `user:<id>`, `session:<id>`


async def identity_of(request: Request, _: Annotated[None, Depends(credential)]) -> Identity:
    """For the gateway's own endpoints: services get the signed principal."""
    identity: Identity | None = request.scope["state"].get("identity")
    if identity is None:
        raise Unauthenticated("This needs a credential.")
    return identity


IdentityOf = Annotated[Identity, Depends(identity_of)]


class Authenticator(Protocol):
    async def authenticate(self, credential: str) -> Identity:
        """Whose credential it is. Raises Unauthenticated."""
        ...


class AdminKey:
    """The one key that is there before there are any others."""

    def __init__(self, key: ApiKey, *, tenant: str) -> None:
        self._id = key.id
        self._text = key.text.encode()
        self._identity = Identity(Principal(tenant, f"key:{key.id}", SCOPES))

    def identity(self, credential: str) -> Identity | None:
        return self._identity if hmac.compare_digest(credential.encode(), self._text) else None


class Authenticators:
    """Each credential to the one who knows its form."""

    def __init__(self, admin: AdminKey, keys: Authenticator, tokens: Authenticator) -> None:
        self._admin = admin
        self._keys = keys
        self._tokens = tokens

    async def authenticate(self, credential: str) -> Identity:
        if looks_like_token(credential):
            return await self._tokens.authenticate(credential)
        # The admin key needs no database: it is what an operator has when there is none.
        return self._admin.identity(credential) or await self._keys.authenticate(credential)


def credential_of(request: RequestHead) -> str:
    """The one credential of a request: `Authorization: Bearer …` or `X-API-Key: …`."""
    found = [value for name, value in request.headers if name in (b"authorization", b"x-api-key")]
    if not found:
        raise Unauthenticated(
            "Send an API key or an access token: Authorization: Bearer <key or token>, or X-API-Key: <key>."
        )
    if len(found) > 1:
        raise Unauthenticated("The request carries more than one credential. Send one.")
    value = checked_credential(found[0].decode("latin-1"))
    if request.header(b"authorization") is None:
        return value
    scheme, _, credential = value.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("The only Authorization scheme that is understood is Bearer.")
    return credential.strip()


def checked_credential(text: str) -> str:
    """The credential, if it is worth to be looked at."""
    if len(text) > _LONGEST_CREDENTIAL:
        raise Unauthenticated("The credential is too long.")
    return text
