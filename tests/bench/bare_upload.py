"""The least that an upload costs in Python: hash, write and sync a body. `python bare_upload.py FILE`."""

import asyncio
import hashlib
import os
import sys

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_CHUNK = 1 << 20


class BareUpload:
    def __init__(self, path: str) -> None:
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hashed = hashlib.sha256()
        gathered: list[bytes] = []
        size = 0
        with open(self._path, "wb", buffering=0) as file:  # noqa: ASYNC230

            def work(chunks: list[bytes]) -> None:
                for chunk in chunks:
                    hashed.update(chunk)
                os.writev(file.fileno(), chunks)

            at_work: asyncio.Future[None] | None = None
            async for chunk in Request(scope, receive).stream():
                gathered.append(chunk)
                size += len(chunk)
                if size >= _CHUNK:
                    if at_work is not None:
                        await at_work
                    at_work = asyncio.get_running_loop().run_in_executor(None, work, gathered)
                    gathered, size = [], 0
            if at_work is not None:
                await at_work
            await asyncio.to_thread(work, gathered)
            await asyncio.to_thread(os.fsync, file.fileno())
        await Response(hashed.hexdigest(), 202)(scope, receive, send)


if __name__ == "__main__":
    uvicorn.run(
        BareUpload(sys.argv[1]),
        port=int(os.environ["MILLRACE_PORT"]),
        lifespan="off",
        log_level="warning",
        loop="uvloop",
    )
