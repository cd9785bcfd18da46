"""How fast ingest takes multipart bodies apart: an honest one, and hostile ones that it has to store as they are.

CPU time, without a socket or a disk.
"""

import asyncio
import os
from collections.abc import Iterator
from time import process_time
from typing import Any

from fastapi import Request
from pydantic import SecretStr

from bench.report import Result
from events.body.body import Body
from ingest.settings import IngestSettings

SIZE = 64 << 20
CHUNK = 64 << 10  # what a socket gives at once
ROUNDS = 3

_BOUNDARY = "-" * 69 + "x"
_HEAD = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"\r\n\r\n'.encode()
_END = f"\r\n--{_BOUNDARY}--\r\n".encode()
_ALMOST = f"\r\n--{_BOUNDARY[:-1]}".encode()

_FILES = {
    "random": os.urandom(CHUNK),
    "csv": b"12345,some text,2026-01-01\n",
    "almost_delimiters": _ALMOST,
    "almost_delimiters_y": _ALMOST + b"y",
    "delimiters_within_lines": f"--{_BOUNDARY}".encode(),
    "boundary_characters": b"-",
    "line_ends": b"\r",
    "beginnings": b"\r\n--",
    "lines_of_boundary_characters": b"\r\n" + b"-" * 62,
}


def _chunks(pattern: bytes) -> Iterator[bytes]:
    yield _HEAD
    block = (pattern * (CHUNK // len(pattern) + 2))[: CHUNK + len(pattern)]
    for number in range(SIZE // CHUNK):
        shift = number * CHUNK % len(pattern)
        yield block[shift : shift + CHUNK]
    yield _END


async def _megabytes_per_second(pattern: bytes, settings: IngestSettings) -> float:
    chunks = _chunks(pattern)

    async def receive() -> dict[str, Any]:
        body = next(chunks, b"")
        return {"type": "http.request", "body": body, "more_body": bool(body)}

    headers = [(b"content-type", f"multipart/form-data; boundary={_BOUNDARY}".encode())]
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)
    body = Body(request, settings, settings.max_upload_bytes, "It is too large.")
    began, size = process_time(), 0
    async for piece in body:
        size += len(piece)
    assert size == SIZE
    return size / 1e6 / (process_time() - began)


async def run() -> Result:
    settings = IngestSettings(
        database_url=SecretStr("postgresql://nobody@127.0.0.1/none"), principal_secret=SecretStr("s" * 32)
    )
    best = dict.fromkeys(_FILES, 0.0)
    for _ in range(ROUNDS):
        for name, pattern in _FILES.items():
            best[name] = max(best[name], await _megabytes_per_second(pattern, settings))
            await asyncio.sleep(0)
    honest = min(best["random"], best["csv"])
    worst = min(best.values())
    return Result(
        "multipart",
        {"bytes": SIZE, "rounds": ROUNDS, "boundary": len(_BOUNDARY)},
        {**{f"{name}_mb_s": speed for name, speed in best.items()}, "honest_mb_s": honest, "worst_mb_s": worst},
    )
