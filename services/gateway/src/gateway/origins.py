"""Which web pages may talk to us from a browser."""

import re

from events.errors import Forbidden, StartupError
from gateway.wire.heads import RequestHead

_ORIGIN = re.compile(r"https?://(?:[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


class Origins:
    def __init__(self, allowed: str) -> None:
        """`allowed`: origins, separated by commas; `*` for any."""
        named = {origin.strip().lower() for origin in allowed.split(",")} - {""}
        wrong = sorted(origin for origin in named if origin != "*" and not _ORIGIN.fullmatch(origin))
        if wrong:
            raise StartupError(
                f"MILLRACE_ALLOWED_ORIGINS has {', '.join(wrong)}: an origin is http(s)://host or http(s)://host:port."
            )
        self._named = named

    def allows(self, origin: str) -> bool:
        return "*" in self._named or origin.lower() in self._named

    def check(self, head: RequestHead, host: bytes | None) -> None:
        """Raise Forbidden if a page of somebody else's opens a WebSocket. Who sends no Origin is no browser."""
        found = [value for name, value in head.headers if name == b"origin"]
        if not found:
            return
        origin = found[0].decode("latin-1")
        same = host is not None and origin.partition("://")[2].lower() == host.decode("latin-1").lower()
        if len(found) > 1 or not (same or self.allows(origin)):
            raise Forbidden("Web pages of this origin may not open WebSockets here: it is not among the allowed ones.")
