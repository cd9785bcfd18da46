"""Refresh tokens: `mr_refresh_<session>_<number>_<mac>`.

A token is computed, not kept: the same one can be given again to a client whose answer got lost, a forged one is
refused without a query, and an old one is recognised for what it is, however old.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from uuid import UUID

from events.errors import Unauthenticated
from gateway.auth.derived import derived_key

_FORM = re.compile(r"mr_refresh_([0-9a-f]{32})_([0-9]{1,9})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Refresh:
    session: UUID
    number: int  # of refreshes before it


class RefreshTokens:
    def __init__(self, pepper: str) -> None:
        self._key = derived_key(pepper, "refresh tokens")

    def text(self, refresh: Refresh) -> str:
        said = f"{refresh.session.hex}_{refresh.number}"
        mac = hmac.digest(self._key, said.encode(), hashlib.sha256)
        return f"mr_refresh_{said}_{urlsafe_b64encode(mac).rstrip(b'=').decode()}"

    def read(self, text: str) -> Refresh:
        found = _FORM.fullmatch(text)
        if found is not None:
            refresh = Refresh(UUID(found[1]), int(found[2]))
            if hmac.compare_digest(self.text(refresh), text):
                return refresh
        raise Unauthenticated("The refresh token is not one of ours. Log in again.")
