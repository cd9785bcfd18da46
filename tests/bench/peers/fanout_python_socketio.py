"""A fan-out with python-socketio: a channel is a room."""

import socketio

from bench.peers.fanout_fan import serve

io = socketio.AsyncServer(async_mode="asgi", transports=["websocket"], ping_interval=600, ping_timeout=60)
app = socketio.ASGIApp(io)


@io.event  # type: ignore[untyped-decorator]
async def join(sid: str, name: str) -> None:
    await io.enter_room(sid, name)
    await io.emit("joined", to=sid)


async def to_channel(name: str, text: str) -> None:
    await io.emit("m", text, room=name)


serve(app, to_channel)
