"""A fan-out as people write it with FastAPI: the path is the channel, and each socket is sent to in turn."""

from collections import defaultdict

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from bench.peers.fanout_fan import serve

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


serve(app, to_channel)
