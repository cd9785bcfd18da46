"""Clients of the tus protocol as others have written them, behind a network that cuts every connection some time, in
either direction: each comes to the end, and one upload comes of it."""

import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from fixtures.passages import sampled
from fixtures.tus_clients import Receiver, SendByTus, Told
from fixtures.way import cutting

CHUNK = 200 * 1024
IN_NODE: dict[str, Any] = {"chunkSize": CHUNK, "retryDelays": [20] * 500}
CLIENTS = ["chunks", "parts", "stream", "checksums", "creation", "page", "tuspy"]

pytestmark = pytest.mark.timeout(600)  # the first time, Node is fetched


async def send(client: str, path: Path, tus_js: SendByTus, uppy: SendByTus, tuspy: SendByTus) -> Told:
    match client:
        case "parts":
            return await tus_js(path, parallelUploads=3, wish={"tries": 100}, **IN_NODE)
        case "stream":
            return await tus_js(path, source="stream", uploadLengthDeferred=True, **IN_NODE)
        case "checksums":
            return await tus_js(path, wish={"checksum": "sha256"}, **IN_NODE)
        case "creation":
            return await tus_js(path, uploadDataDuringCreation=True, **IN_NODE)
        case "page":
            return await uppy(path, **IN_NODE)
        case "tuspy":
            patient: dict[str, Any] = {"retries": 100, "retry_delay": 0}
            return await tuspy(path, wish={"tries": 100}, chunk_size=CHUNK, upload_checksum=True, **patient)
    return await tus_js(path, **IN_NODE)


@pytest.mark.parametrize(("seed", "client"), sampled(list(itertools.product(range(5), CLIENTS))))
async def test_a_file_comes_whole_through_a_network_that_breaks(
    receiver: Receiver, tus_js: SendByTus, uppy: SendByTus, tuspy: SendByTus, tmp_path: Path, seed: int, client: str
) -> None:
    content = os.urandom(1_000_000 + seed)
    path = tmp_path / "people.csv"
    path.write_bytes(content)
    before = await receiver.uploads()
    receiver.way.fates = cutting(seed)

    told = await send(client, path, tus_js, uppy, tuspy)

    assert told.event == "done", told
    assert receiver.way.cuts > 0
    assert await receiver.uploads() - before == {told.id}
    await receiver.has_once(told.id, content)
