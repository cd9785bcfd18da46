"""An issuer of tokens that the operator trusts, as it is written in the settings."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from gateway.auth.roles import Role

# Over TLS, or from this machine: whoever can change the keys on their way can be anybody.
JwksUrl = Annotated[
    str,
    StringConstraints(pattern=r"^(https://[^/?#@\s]+|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?)(/\S*)?$"),
]
# Each with a key that only its issuer has. A shared secret would let whoever verifies sign as well.
Algorithm = Literal["EdDSA", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]


class Issuer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(min_length=1)
    audience: str = Field(min_length=1)
    jwks_url: JwksUrl
    algorithms: tuple[Algorithm, ...] = Field(min_length=1)
    tenant: str | None = None  # the tenant of all its people …
    tenant_claim: str | None = None  # … or the claim that names it: then the issuer may name any tenant
    role_claim: str | None = None
    roles: dict[str, Role] = Field(default_factory=dict)  # what it calls a role → ours
    scope_claim: str | None = None  # scopes by our names, as a list or separated by spaces; others are ignored

    @model_validator(mode="after")
    def _one_way_to_a_tenant(self) -> Self:
        if (self.tenant is None) == (self.tenant_claim is None):
            raise ValueError("give either tenant or tenant_claim")
        return self
