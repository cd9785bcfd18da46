"""Heads of requests and responses, parsed by llhttp in its strict mode, and by what it leaves open.

Whatever two parsers could read differently (request smuggling) is refused here, before anything else looks at it.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, field

import httptools

from events.errors import BadRequest, MethodNotAllowed, MillraceError
from gateway.wire.framing import BodyReader, ChunkedBody, CountedBody, EndlessBody
from gateway.wire.pace import MOST_CHUNKS

Headers = list[tuple[bytes, bytes]]  # names in lower case

MOST_HEAD_BYTES = 16 * 1024
_MOST_DIGITS = 20  # of a length: llhttp takes zeros before it, and Python no number of thousands of digits
_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
_HOST = re.compile(rb"[A-Za-z0-9._~-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~.@!$&'()*+,;=:-]+)*/?")
_DOTS = re.compile(r"/\.{1,2}(?:/|$)")
# Who is behind us would decode it, and see another path than we did: to a separator or a control character, or to what
# nobody needs to encode (RFC 3986, 2.3).
_HIDDEN = re.compile(
    r"%(?![0-9A-Fa-f]{2})|%(?:2[Ff]|5[Cc]|[01][0-9A-Fa-f]|7[Ff])"
    r"|%(?:2[DdEe]|3[0-9]|4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9AaEe])"
)


class HeadTooLarge(MillraceError):
    code, status, title = "head_too_large", 431, "Request head too large"


@dataclass(slots=True)
class RequestHead:
    method: bytes
    target: bytes  # path and query as they came
    http_1_0: bool
    headers: Headers
    content_length: int | None
    chunked: bool
    connection: frozenset[bytes]  # the tokens of `Connection`, in lower case
    path: str = field(init=False)
    query: bytes = field(init=False)

    def __post_init__(self) -> None:
        path, _, self.query = self.target.partition(b"?")
        self.path = path.decode("ascii")

    def header(self, name: bytes) -> bytes | None:
        return next((value for known, value in self.headers if known == name), None)

    @property
    def keep_alive(self) -> bool:
        return not self.http_1_0 and b"close" not in self.connection

    @property
    def expects_continue(self) -> bool:
        return not self.http_1_0 and (self.header(b"expect") or b"").lower() == b"100-continue"

    @property
    def opens_websocket(self) -> bool:
        upgrade = self.header(b"upgrade")
        return upgrade is not None and upgrade.lower() == b"websocket" and b"upgrade" in self.connection

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.content_length)

    def body(self) -> BodyReader:
        return ChunkedBody(MOST_CHUNKS) if self.chunked else CountedBody(self.content_length or 0)

    @property
    def unambiguous(self) -> bool:
        """No parser behind us could see another path in it: no empty or dot segments, nothing hidden by encoding."""
        if _PLAIN_PATH.fullmatch(self.path):
            return "/." not in self.path or not _DOTS.search(self.path)
        return not ("//" in self.path or "\\" in self.path or _DOTS.search(self.path) or _HIDDEN.search(self.path))


@dataclass(frozen=True, slots=True)
class ResponseHead:
    status: int
    headers: Headers
    content_length: int | None
    chunked: bool
    http_1_0: bool
    connection: frozenset[bytes]

    @property
    def keep_alive(self) -> bool:
        return not self.http_1_0 and b"close" not in self.connection

    def body(self, request_method: bytes) -> BodyReader:
        if request_method == b"HEAD" or self.status in (204, 304):
            return CountedBody(0)
        if self.chunked:
            return ChunkedBody()
        return EndlessBody() if self.content_length is None else CountedBody(self.content_length)


class _Collector:
    def __init__(self) -> None:
        self.target = b""
        self.headers: Headers = []

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


def end_of_head(unparsed: bytes) -> int | None:
    """Where the head ends; None if it may still come. Raises once it can't."""
    end = unparsed.find(b"\r\n\r\n", 0, MOST_HEAD_BYTES)
    if end >= 0:
        return end + 4
    if len(unparsed) >= MOST_HEAD_BYTES:
        raise HeadTooLarge(f"The request's head is larger than {MOST_HEAD_BYTES} bytes.")
    if _BARE_LF.search(unparsed):
        raise BadRequest("The request's head has a line that does not end in CRLF.")
    return None


def parse_request(head: bytes) -> RequestHead:
    """`head` ends with its empty line."""
    found = _Collector()
    parser = httptools.HttpRequestParser(found)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserInvalidMethodError:
        raise _unknown_method() from None
    except httptools.HttpParserError as error:
        raise BadRequest(f"The request's head is malformed: {error}.") from None
    method, version = parser.get_method(), parser.get_http_version()
    if version not in ("1.1", "1.0") or not head.startswith(b"%b %b HTTP/1." % (method, found.target)):
        raise BadRequest("The request line is malformed.")
    if method not in _METHODS:
        raise _unknown_method()
    if not found.target.startswith(b"/") or b"#" in found.target:
        raise BadRequest("The request's target must be a path.")
    hosts = lengths = encodings = 0
    content_length, encoding, connection = None, b"", frozenset[bytes]()
    for name, value in found.headers:
        if name == b"content-length":
            lengths += 1
            if len(value) > _MOST_DIGITS:
                raise BadRequest("The Content-Length has more digits than any length needs.")
            content_length = int(value)
        elif name == b"transfer-encoding":
            encodings += 1
            encoding = value.lower()
        elif name == b"host":
            hosts += 1
            if not _HOST.fullmatch(value):
                raise BadRequest("The Host header is malformed.")
        elif name == b"connection":
            connection |= _tokens(value)
    http_1_0 = version == "1.0"
    if hosts > 1 or (hosts == 0 and not http_1_0):
        raise BadRequest("The request must have one Host header.")
    if encodings and (lengths or http_1_0 or encoding != b"chunked"):
        raise BadRequest(
            "The only Transfer-Encoding that is understood is chunked, of HTTP/1.1, without a Content-Length."
        )
    return RequestHead(method, found.target, http_1_0, found.headers, content_length, encodings > 0, connection)


def parse_response(head: bytes) -> ResponseHead:
    """Raises `httptools.HttpParserError` if a service does not speak HTTP."""
    found = _Collector()
    parser = httptools.HttpResponseParser(found)
    with suppress(httptools.HttpParserUpgrade):
        parser.feed_data(head)
    content_length, chunked, connection = None, False, frozenset[bytes]()
    for name, value in found.headers:
        if name == b"content-length":
            content_length = int(value)
        elif name == b"transfer-encoding":
            chunked = value.lower() == b"chunked"
        elif name == b"connection":
            connection |= _tokens(value)
    http_1_0 = parser.get_http_version() == "1.0"
    return ResponseHead(parser.get_status_code(), found.headers, content_length, chunked, http_1_0, connection)


def _tokens(value: bytes) -> frozenset[bytes]:
    return frozenset(token.strip().lower() for token in value.split(b","))


def _unknown_method() -> MethodNotAllowed:
    allowed = ", ".join(sorted(method.decode() for method in _METHODS))
    return MethodNotAllowed("This method is not known here.", headers={"Allow": allowed})
