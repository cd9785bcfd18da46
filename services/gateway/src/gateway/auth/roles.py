"""What a person may do, by the role that the person has in a tenant."""

from collections.abc import Mapping
from typing import Literal

Role = Literal["viewer", "member", "admin"]

_VIEWER = frozenset({"jobs:read", "workflows:read", "events:read", "meetings:read", "auctions:read"})
_MEMBER = _VIEWER | {"uploads:write", "jobs:write", "workflows:write", "meetings:write", "auctions:book"}
_ADMIN = _MEMBER | {"auctions:admin", "keys:admin"}

# Not `ops`: it shows the whole system, and whoever registers is the admin of a tenant.
ROLES: Mapping[Role, frozenset[str]] = {"viewer": _VIEWER, "member": _MEMBER, "admin": _ADMIN}
