"""The request that opens a WebSocket (RFC 6455, section 4.2), and our answer to it."""

import base64
import binascii
import hashlib
import http
import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl

from events.errors import BadRequest, MillraceError
from events.web.openapi import PROBLEM_JSON
from events.web.web import accepted_request_id, problem_body

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION = "13"
_MOST_PARAMETERS = 16
_JOB_ID = re.compile(r"/ws/[^/]+$")


class UpgradeRequired(MillraceError):
    code, status, title = "upgrade_required", 426, "Upgrade required"


@dataclass(frozen=True, slots=True)
class Handshake:
    method: str
    path: str
    query: str
    headers: dict[str, str]  # by lower-case name

    @classmethod
    def parse(cls, head: bytes) -> Self:
        """A request's head as uvicorn hands it on: parsed once already, and written anew."""
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        path, _, query = target.partition("?")
        headers = (line.partition(": ") for line in lines)
        return cls(method, path, query, {name.lower(): value for name, _, value in headers})

    @property
    def request_id(self) -> str:
        return accepted_request_id(self.headers.get("x-request-id"))

    @property
    def route(self) -> str:
        """The path without an id."""
        return _JOB_ID.sub("/ws/{job_id}", self.path)

    def parameters(self) -> dict[str, str]:
        try:
            return dict(parse_qsl(self.query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS))
        except ValueError:
            raise BadRequest(f"The query may have {_MOST_PARAMETERS} parameters.") from None

    def check(self) -> None:
        """Raise what is wrong with it as a WebSocket handshake."""
        if self.method != "GET":
            raise BadRequest("A WebSocket is opened with GET.")
        if self.headers.get("sec-websocket-version") != _VERSION:
            raise UpgradeRequired(
                f"The WebSocket version must be {_VERSION}.", headers={"Sec-WebSocket-Version": _VERSION}
            )
        try:
            key = base64.b64decode(self.headers.get("sec-websocket-key", ""), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != 16:
            raise BadRequest("Sec-WebSocket-Key must be 16 bytes in base64.")

    def accept(self, request_id: str) -> bytes:
        digest = hashlib.sha1(self.headers["sec-websocket-key"].encode() + _GUID, usedforsecurity=False).digest()
        return _head(
            http.HTTPStatus.SWITCHING_PROTOCOLS,
            {
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Accept": base64.b64encode(digest).decode(),
                "X-Request-ID": request_id,
            },
        )

    def refuse(self, error: MillraceError, request_id: str) -> bytes:
        body = problem_body(error, instance=self.path, request_id=request_id)
        headers = {
            "Content-Type": PROBLEM_JSON,
            "Content-Length": str(len(body)),
            "X-Request-ID": request_id,
            "Connection": "close",
        }
        return _head(http.HTTPStatus(error.status), headers | error.headers) + body


def _head(status: http.HTTPStatus, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
