"""The header of a JWT, judged before anything in the token is believed."""

import re
from base64 import urlsafe_b64decode
from binascii import Error as NotBase64
from dataclasses import dataclass
from typing import Any

import msgspec

from events.errors import Unauthenticated

LONGEST_TOKEN = 8 * 1024
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_KID = re.compile(r"[A-Za-z0-9._~+/=-]{1,128}")
# What would let a token bring its own key.
_KEYS_WITHIN = frozenset({"jwk", "jku", "x5u", "x5c"})


@dataclass(frozen=True, slots=True)
class Unverified:
    """What a token says of itself. It says where to look up the key that proves it, and nothing else."""

    algorithm: str
    kid: str
    type: str | None
    issuer: str


def looks_like_token(credential: str) -> bool:
    return credential.count(".") == 2


def read_unverified(token: str) -> Unverified:
    if len(token) > LONGEST_TOKEN:
        raise Unauthenticated(f"A token may have at most {LONGEST_TOKEN} characters.")
    if _FORM.fullmatch(token) is None:
        raise Unauthenticated("The token is not a JWT: three base64url parts, separated by dots.")
    header, claims = (_object(part) for part in token.split(".")[:2])
    if "crit" in header:
        raise Unauthenticated("The token has a critical extension (crit). None is understood here.")
    if _KEYS_WITHIN & header.keys():
        raise Unauthenticated("The token brings a key of its own (jwk, jku, x5u, x5c). Only its issuer's keys count.")
    kid, issuer, type_ = header.get("kid"), claims.get("iss"), header.get("typ")
    if not isinstance(kid, str) or _KID.fullmatch(kid) is None:
        raise Unauthenticated("The token does not name its key: kid is missing or malformed.")
    if not isinstance(issuer, str):
        raise Unauthenticated("The token has no issuer (iss).")
    if not (type_ is None or isinstance(type_, str)):
        raise Unauthenticated("The token's type (typ) is malformed.")
    return Unverified(str(header.get("alg")), kid, type_, issuer)


def _object(part: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(urlsafe_b64decode(part + "=" * (-len(part) % 4)), type=dict[str, Any])
    except (NotBase64, msgspec.MsgspecError, ValueError, RecursionError):
        raise Unauthenticated("The token is not a JWT: a part of it is not base64url of a JSON object.") from None
