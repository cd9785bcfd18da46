"""Answers that are a file, which may have lost its name already."""

import asyncio
import os
from collections.abc import Mapping
from typing import BinaryIO

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_PIECE_BYTES = 256 << 10


class FileAnswer(Response):
    """Closes the file, however the sending ends."""

    def __init__(self, file: BinaryIO, media_type: str, headers: Mapping[str, str]) -> None:
        size = os.fstat(file.fileno()).st_size
        super().__init__(None, 200, {**headers, "Content-Length": str(size)}, media_type)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file as file:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
