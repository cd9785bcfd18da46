"""Which web pages may talk to us from a browser (CORS, and the origins of WebSockets).

A page sends a key or a token that it has. The only cookie of ours opens a stream again, so no other answer needs to
allow credentials.
"""

import re

from events.errors import Forbidden, StartupError
from gateway.wire.heads import Headers, RequestHead

_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_NAMES = re.compile(rb"[A-Za-z0-9-]{1,64}(?:[ \t]*,[ \t]*[A-Za-z0-9-]{1,64}){0,63}")
_KEPT_SECONDS = b"7200"  # the longest that browsers go without asking again
_ORIGIN = re.compile(r"https?://(?:[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_EXPOSED = b"access-control-expose-headers: *\r\n"
_VARIES = b"vary: origin\r\n"


def asks_before_sending(head: RequestHead) -> bool:
    return (
        head.method == b"OPTIONS"
        and head.header(b"origin") is not None
        and head.header(b"access-control-request-method") is not None
    )


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

    def said_of(self, head: RequestHead) -> bytes:
        """The header lines by which a browser lets a page read the answer."""
        if "*" in self._named:
            return b"access-control-allow-origin: *\r\n" + _EXPOSED
        if not self._named:
            return b""
        origin = head.header(b"origin")
        if origin is None or not self.allows(origin.decode("latin-1")):
            return _VARIES
        return b"access-control-allow-origin: %b\r\n%b%b" % (origin, _EXPOSED, _VARIES)

    def allows_cookies(self, head: RequestHead) -> bytes:
        """The header line by which a page of a named origin may send the cookie of a stream."""
        origin = head.header(b"origin")
        named = origin is not None and "*" not in self._named and self.allows(origin.decode("latin-1"))
        return b"access-control-allow-credentials: true\r\n" if named else b""

    def preflight(self, head: RequestHead) -> Headers:
        """What a page may send, to a browser that asks before sending it."""
        if not self.allows((head.header(b"origin") or b"").decode("latin-1")):
            raise Forbidden("Web pages of this origin may not send requests here: it is not among the allowed ones.")
        answer = [(b"access-control-allow-methods", _METHODS), (b"access-control-max-age", _KEPT_SECONDS)]
        asked = head.header(b"access-control-request-headers")
        if asked is not None and _NAMES.fullmatch(asked):
            answer.append((b"access-control-allow-headers", asked))
        return answer

    def check(self, head: RequestHead, host: bytes | None) -> None:
        """Raise Forbidden if a page of somebody else's opens a WebSocket. Who sends no Origin is no browser."""
        found = [value for name, value in head.headers if name == b"origin"]
        if not found:
            return
        origin = found[0].decode("latin-1")
        same = host is not None and origin.partition("://")[2].lower() == host.decode("latin-1").lower()
        if len(found) > 1 or not (same or self.allows(origin)):
            raise Forbidden("Web pages of this origin may not open WebSockets here: it is not among the allowed ones.")
