"""`POST /fan {"names": […], "messages": n, "bytes": b}`: n messages, each to the next one of the channels."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

Send = Callable[[str, str], Awaitable[None]]


async def fan(scope: Any, receive: Any, send: Any, to_channel: Send) -> None:
    body = b""
    if scope["method"] == "POST":
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        wish = json.loads(body)
        before = time.process_time()
        for number in range(wish["messages"]):
            text = f"|{time.monotonic_ns()} ".ljust(wish["bytes"], "x")
            await to_channel(wish["names"][number % len(wish["names"])], text)
            await asyncio.sleep(0)  # what was sent is to be written, and others are to have a turn
        body = json.dumps({"cpu_us": (time.process_time() - before) * 1e6}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def serve(app: Any, to_channel: Send) -> None:
    async def whole(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/socket.io/"):
            await fan(scope, receive, send, to_channel)
        else:
            await app(scope, receive, send)

    uvicorn.run(
        whole,
        host="127.0.0.1",
        port=int(os.environ["MILLRACE_PORT"]),
        loop="uvloop",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        log_level="warning",
    )
