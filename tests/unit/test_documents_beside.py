"""Documents take long to check, so they are checked beside the loop that everybody is served by."""

import asyncio
import threading
from typing import cast

import msgspec
import pytest

from events.database import Pool
from events.log.append import Appender
from processor.workflows.beside import Beside
from processor.workflows.library import Library
from processor.workflows.publishing import Publishing

DOCUMENT = {
    "name": "long",
    "steps": {f"s{number}": {"uses": "noop", "when": "1 + 1 == 2 " + "and 3 > 2 " * 20} for number in range(60)},
}
NOWHERE = cast(Pool, None)  # a document that names no other workflow asks the database nothing


async def test_the_loop_goes_on_while_a_document_is_checked() -> None:
    """A document of 630 KB kept it for three seconds, and two of them for longer than a lease."""
    publishing = Publishing(NOWHERE, cast(Appender, None), Library(NOWHERE))
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn())
    document = await publishing.read("acme", msgspec.json.encode(DOCUMENT), "application/json")
    verdict = await publishing.verdict("acme", document)
    turning.cancel()
    assert verdict.valid
    assert turns > 10


async def test_a_tenant_with_many_documents_keeps_no_other_waiting() -> None:
    beside, go_on = Beside(), threading.Event()
    many = [asyncio.create_task(beside.do("many", go_on.wait)) for _ in range(5)]
    await asyncio.sleep(0)
    assert await beside.do("other", lambda given: given, 7) == 7
    go_on.set()
    assert all(await asyncio.gather(*many))


async def test_what_is_wrong_is_told_to_whoever_asked() -> None:
    with pytest.raises(ValueError, match="seven"):
        await Beside().do("acme", int, "seven")
