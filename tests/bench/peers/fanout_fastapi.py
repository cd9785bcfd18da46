"""A fan-out as people write it with FastAPI: the path is the channel, and each socket is sent to in turn."""

import os
from collections import defaultdict
from typing import Any

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from bench.peers.fanout_fan import fan

app = FastAPI()
channels: defaultdict[str, set[WebSocket]] = defaultdict(set)


@app.websocket("/{name}")
async def follow(socket: WebSocket, name: str) -> None:
    await socket.accept()
    channels[name].add(socket)
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        channels[name].discard(socket)


async def to_channel(name: str, text: str) -> None:
    for socket in channels[name]:
        await socket.send_text(text)


async def whole(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
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
