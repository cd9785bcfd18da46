"""A body in chunks of a byte or two passes the gateway whole, and takes no more of its time than it may."""

import asyncio
import hashlib
import json
import time
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from pathlib import Path

from deploy.provision import Database
from fixtures.gateway import Gateway, Upstream, open_gateway, read_body, read_head

SHARE = 100_000  # chunks a second, of all connections
CHUNKS = 40_000
TINY = b"".join(b"%x\r\n%b\r\n" % (1 + at % 2, b"ab"[: 1 + at % 2]) for at in range(CHUNKS))
CONTENT = b"".join(b"ab"[: 1 + at % 2] for at in range(CHUNKS))


async def hashing(reader: Reader, writer: Writer) -> None:
    """Answers with the body's hash."""
    while True:
        body = await read_body(reader, await read_head(reader))
        answer = json.dumps([len(body), hashlib.sha256(body).hexdigest()]).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))


async def sent_in_tiny_chunks(gateway: Gateway) -> list[object]:
    async with gateway.wire() as wire:
        wire.request("POST /api/v1/uploads", "Transfer-Encoding: chunked")
        wire.send(TINY + b"0\r\n\r\n")
        answers = [await wire.answer()]
        wire.request("POST /api/v1/uploads", "Transfer-Encoding: chunked")  # the connection is good for another
        wire.send(b"3\r\nabc\r\n0\r\n\r\n")
        answers.append(await wire.answer())
    return [json.loads(answer.body) for answer in answers]


async def test_tiny_chunks_arrive_whole_and_no_faster_than_their_share_of_our_time(
    database: Database, tmp_path: Path
) -> None:
    async with Upstream.open(hashing) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:
        began = time.monotonic()
        found = await asyncio.gather(*(sent_in_tiny_chunks(gateway) for _ in range(3)))
        took = time.monotonic() - began
        expected = [[len(body), hashlib.sha256(body).hexdigest()] for body in (CONTENT, b"abc")]
        assert found == [expected] * 3
        assert took > 0.9 * 3 * CHUNKS / SHARE, "others have the rest of the time"


async def test_who_leaves_or_errs_while_he_waits_leaves_nothing_behind(database: Database, tmp_path: Path) -> None:
    async with Upstream.open(hashing) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:
        async with gateway.wire() as leaving:
            leaving.request("POST /api/v1/uploads", "Transfer-Encoding: chunked")
            leaving.send(TINY)
        async with gateway.wire() as erring:
            erring.request("POST /api/v1/uploads", "Transfer-Encoding: chunked")
            erring.send(TINY + b"no size\r\n")
            assert (await erring.answer()).status == 400
        assert len(await sent_in_tiny_chunks(gateway)) == 2
