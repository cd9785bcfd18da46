"""A token's signature and claims, verified the same way for every issuer."""

import time
from collections.abc import Sequence
from typing import Any

import jwt
from jwt.types import Options

from events.errors import Unauthenticated

LEEWAY_SECONDS = 10
_OPTIONS: Options = {"require": ["exp", "iss", "aud", "sub"]}

# What is wrong, by what PyJWT raises; the first that fits.
_WRONG: Sequence[tuple[type[jwt.PyJWTError], str]] = (
    (jwt.ExpiredSignatureError, "The token has expired."),
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
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as refused:
        says = (sentence for kind, sentence in _WRONG if isinstance(refused, kind))
        raise Unauthenticated(next(says, "The token is malformed.")) from None
    if claims["exp"] <= time.time():  # the leeway is for a token that comes too early, not for one that comes too late
        raise Unauthenticated("The token has expired.")
    if not isinstance(claims["sub"], str) or not claims["sub"]:
        raise Unauthenticated("The token's subject (sub) is malformed.")
    return claims
