"""What others need to verify our access tokens by themselves."""

from typing import Any

from fastapi import Response

from events.web.openapi import DescribedRoutes
from gateway.auth.signing_keys import LEAD_SECONDS, SigningKeys

_KEY = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "…", "x": "…"}
_KEYS = {"keys": [_KEY]}


def jwks_routes(keys: SigningKeys) -> DescribedRoutes:
    routes = DescribedRoutes(tags=["accounts"])

    @routes.get("/api/v1/auth/jwks.json", responses={200: {"content": {"application/json": {"example": _KEYS}}}})
    @routes.get("/.well-known/jwks.json", include_in_schema=False)
    async def jwks(response: Response) -> dict[str, Any]:
        """The public keys of our access tokens, as a JSON Web Key Set."""
        response.headers["Cache-Control"] = f"public, max-age={LEAD_SECONDS / 3:.0f}"
        return await keys.jwks()

    return routes
