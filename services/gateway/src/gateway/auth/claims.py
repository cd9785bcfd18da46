"""A token's signature and claims, verified the same way for every issuer."""

import time
from collections.abc import Sequence
from typing import Any

import jwt
from jwt.types import Options

from events.errors import Unauthenticated

LEEWAY_SECONDS = 10
_END_OF_TIME = 253_402_300_800  # the year 10,000: what is later is no time
_OPTIONS: Options = {"require": ["exp", "iss", "aud", "sub"]}


class TokenExpired(Unauthenticated):
    """Its own code: a client answers it with a refresh, and shows nobody anything."""

    code, title = "token_expired", "Token expired"

    def __init__(self, detail: str = "The token has expired.") -> None:
        super().__init__(detail)


# What is wrong, by what PyJWT raises; the first that fits.
_WRONG: Sequence[tuple[type[jwt.PyJWTError], str]] = (
    (jwt.ImmatureSignatureError, "The token is not valid yet (nbf or iat)."),
    (jwt.InvalidAudienceError, "The token is meant for another audience (aud)."),
    (jwt.InvalidIssuerError, "The token's issuer (iss) is not trusted here."),
    (jwt.MissingRequiredClaimError, "The token lacks one of the claims exp, iss, aud and sub."),
    (jwt.InvalidAlgorithmError, "The token is signed with an algorithm that its issuer does not use."),
    (jwt.InvalidSignatureError, "The token's signature is wrong."),
    (jwt.PyJWTError, "The token is malformed."),
)


def verified_claims(token: str, key: Any, *, algorithms: Sequence[str], issuer: str, audience: str) -> dict[str, Any]:
    """The claims, if all is right with them. Raises Unauthenticated, and never repeats what was given."""
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=algorithms,
            issuer=issuer,
            audience=audience,
            leeway=LEEWAY_SECONDS,
            options=_OPTIONS,
        )
    except jwt.ExpiredSignatureError:
        raise TokenExpired() from None
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as refused:
        says = (sentence for kind, sentence in _WRONG if isinstance(refused, kind))
        raise Unauthenticated(next(says, "The token is malformed.")) from None
    expiry = claims["exp"]
    if not isinstance(expiry, int | float) or expiry >= _END_OF_TIME:
        raise Unauthenticated("The token's expiry (exp) is malformed.")
    if expiry <= time.time():  # the leeway is for a token that comes too early, not for one that comes too late
        raise TokenExpired()
    if not isinstance(claims["sub"], str) or not claims["sub"]:
        raise Unauthenticated("The token's subject (sub) is malformed.")
    return claims
