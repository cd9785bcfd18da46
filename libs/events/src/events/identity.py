"""Who is asking. The gateway signs a short-lived principal; services trust nothing else of a request."""

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from events.errors import Unauthenticated

PRINCIPAL_HEADER = "X-Millrace-Principal"

# A signed principal is used at once, on the way from the gateway to a service: this only absorbs clock skew.
FRESH_SECONDS = 60
# So many principals are kept signed, for so long: signing costs more than the rest of an authentication.
_KEPT_SIGNED = 10_000
_KEPT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Principal:
    tenant: str
    subject: str  # the key or user that acts, `key:<id>` or `user:<id>`
    scopes: frozenset[str]
    expires_at: int | None = None  # unix seconds; when the credential itself expires, None for never
    channels: frozenset[str] | None = None  # the only ones that it may follow, None for all that are its tenant's

    def may_follow(self, channel: str) -> bool:
        return self.channels is None or channel in self.channels


class _Signed(msgspec.Struct, frozen=True, omit_defaults=True):
    tenant: str
    subject: str
    scopes: list[str]
    expires_at: int | None
    signed_at: int
    channels: list[str] | None = None


class PrincipalSigner:
    def __init__(self, secret: str) -> None:
        self._key = secret.encode()
        self._decoder = msgspec.json.Decoder(_Signed)
        self._kept = lru_cache(_KEPT_SIGNED)(self._sign)

    def sign(self, principal: Principal) -> str:
        now = int(time.time())
        return self._kept(principal, now - now % _KEPT_SECONDS)

    def _sign(self, principal: Principal, signed_at: int) -> str:
        signed = _Signed(
            principal.tenant,
            principal.subject,
            sorted(principal.scopes),
            principal.expires_at,
            signed_at,
            None if principal.channels is None else sorted(principal.channels),
        )
        payload = base64.urlsafe_b64encode(msgspec.json.encode(signed))
        return f"{payload.decode()}.{self._signature(payload)}"

    def verify(self, token: str) -> Principal:
        payload, _, signature = token.partition(".")
        if not token.isascii() or not hmac.compare_digest(signature, self._signature(payload.encode())):
            raise Unauthenticated("The request carries no valid principal. Requests must come through the gateway.")
        signed = self._decoder.decode(base64.urlsafe_b64decode(payload))
        now = time.time()
        if abs(now - signed.signed_at) > FRESH_SECONDS:
            raise Unauthenticated("The request's principal is stale. Check the clocks of gateway and service.")
        if signed.expires_at is not None and signed.expires_at <= now:
            raise Unauthenticated("The credential has expired.")
        channels = None if signed.channels is None else frozenset(signed.channels)
        return Principal(signed.tenant, signed.subject, frozenset(signed.scopes), signed.expires_at, channels)

    def _signature(self, payload: bytes) -> str:
        digest = hmac.digest(self._key, payload, hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode()
