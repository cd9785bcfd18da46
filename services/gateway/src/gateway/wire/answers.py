"""How an answer is framed for the client that asked."""

from collections.abc import Sequence
from http import HTTPStatus

from events.errors import MillraceError
from events.web.openapi import PROBLEM_JSON
from events.web.web import problem_body
from gateway.wire.compression import Compression, compressible, compression_for
from gateway.wire.framing import END_OF_CHUNKS, as_chunk
from gateway.wire.headers import PRIVATE, SAFE, SAFE_ALONE, encode
from gateway.wire.heads import Headers, RequestHead

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


def status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


class Answer:
    """One answer's head, and what its payload looks like on the wire."""

    def __init__(
        self,
        request: RequestHead | None,
        request_id: str,
        status: int,
        headers: Headers,
        content_length: int | None,
        *,
        said: bytes,
        keep_alive: bool,
        compress: bool,
        private: bool,
    ) -> None:
        self.status = status
        self.keep_alive = keep_alive
        self.until_close = False
        self._compression: Compression | None = None
        named = {name for name, _ in headers}
        if private and b"cache-control" not in named:
            headers = [*headers, PRIVATE]
        if compress and compressible(request, status, headers, content_length):
            assert request is not None
            self._compression = compression_for(request, content_length)
            headers = [*headers, (b"vary", b"accept-encoding")]
            if self._compression is not None:
                headers = _recoded(headers, self._compression.coding)
                content_length = None
        elif compress and status == 304:
            headers = [*headers, (b"vary", b"accept-encoding")]  # as the answer had that it confirms
        self._bodiless = status in (204, 304) or (request is not None and request.method == b"HEAD")
        self._chunked = False
        framing = b""
        if content_length is not None and status != 204:
            framing = b"content-length: %d\r\n" % content_length
        elif not self._bodiless and request is not None and not request.http_1_0:
            self._chunked = True
            framing = b"transfer-encoding: chunked\r\n"
        elif not self._bodiless:
            self.until_close, self.keep_alive = True, False
        if not self.keep_alive:
            framing += b"connection: close\r\n"
        self.head = b"%b%b%bx-request-id: %b\r\n%b%b\r\n" % (
            status_line(status),
            encode(headers),
            SAFE if b"content-security-policy" in named else SAFE_ALONE,
            request_id.encode(),
            said,
            framing,
        )

    def encode(self, payload: Sequence[bytes]) -> Sequence[bytes]:
        if self._bodiless:
            return ()
        if self._compression is not None:
            payload = (self._compression.encode(payload),)
        return as_chunk(payload) if self._chunked else payload

    def end(self) -> Sequence[bytes]:
        last = () if self._compression is None else (self._compression.end(),)
        return (*as_chunk(last), END_OF_CHUNKS) if self._chunked else last


def _recoded(headers: Headers, coding: str) -> Headers:
    """Those bytes are others, of the same meaning."""
    weaker = [
        (name, b"W/" + value) if name == b"etag" and not value.startswith(b"W/") else (name, value)
        for name, value in headers
        if name != b"accept-ranges"
    ]
    return [*weaker, (b"content-encoding", coding.encode())]


def problem(error: MillraceError, *, path: str, request_id: str) -> tuple[Headers, bytes]:
    """The headers and the body of an error's answer."""
    headers = [(b"content-type", PROBLEM_JSON.encode()), (b"cache-control", b"no-store")]
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    return headers, problem_body(error, instance=path, request_id=request_id)
