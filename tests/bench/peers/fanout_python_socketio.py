"""A fan-out with python-socketio: a channel is a room."""

import os
from typing import Any

import socketio
import uvicorn

from bench.peers.fanout_fan import fan

io = socketio.AsyncServer(async_mode="asgi", transports=["websocket"], ping_interval=600, ping_timeout=60)
app = socketio.ASGIApp(io)


@io.event  # type: ignore[untyped-decorator]
async def join(sid: str, name: str) -> None:
    await io.enter_room(sid, name)
    await io.emit("joined", to=sid)


async def to_channel(name: str, text: str) -> None:
    await io.emit("m", text, room=name)


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
