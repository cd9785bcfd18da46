"""Steps that a client waits for."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fastapi import Request
from pydantic import SecretStr

from events.errors import MillraceError
from fixtures.processes.processor_with_steps import STEP_COMMAND
from processor.settings import ProcessorSettings
from processor.slots import Slots
from processor.step import Task
from processor.step_calls import StepCalls
from processor.step_process import StepCrashed


class Client:
    """Waits for its answer until it is told to go away."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.request = Request({"type": "http", "method": "POST", "path": "/", "headers": []}, self._receive)

    async def _receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}


@pytest_asyncio.fixture
async def slots() -> AsyncIterator[Slots]:
    slots = Slots(1, STEP_COMMAND)
    await slots.warm_up()
    yield slots
    await slots.close()


def calls(slots: Slots, **changes: Any) -> StepCalls:
    common: dict[str, Any] = {
        "database_url": SecretStr("postgresql://nobody@127.0.0.1/none"),
        "principal_secret": SecretStr("s" * 32),
    }
    return StepCalls(slots, ProcessorSettings(**common | changes))


def task(folder: Path, do: str) -> Task:
    return Task("csv-profile", "", {"do": do}, str(folder), 128, 1)


async def refusal(calls: StepCalls, client: Client, task: Task) -> MillraceError:
    with pytest.raises(MillraceError) as refused:
        await calls.run(client.request, "acme", task, options_at="query", too_long="Wait.")
    return refused.value


async def test_what_becomes_of_a_call_is_told_and_the_process_is_there_for_the_next(
    slots: Slots, tmp_path: Path
) -> None:
    client, patient, hasty = Client(), calls(slots), calls(slots, call_seconds=0.05)
    assert await patient.run(client.request, "acme", task(tmp_path, "large 3"), options_at="query", too_long="Wait.")
    assert (await refusal(patient, client, task(tmp_path, "refuse"))).code == "refused"
    full = await refusal(patient, client, task(tmp_path, "fill"))
    assert (full.status, full.detail) == (503, "There is not enough room on the processor's disk for this.")
    slow = await refusal(hasty, client, task(tmp_path, "work 10"))
    assert (slow.status, slow.code) == (422, "took_too_long")
    hanging = await refusal(hasty, client, task(tmp_path, "hang 10"))
    assert (hanging.status, hanging.code) == (422, "took_too_long")
    for death in ("die", "raise"):
        crashed = await refusal(patient, client, task(tmp_path, death))
        assert (crashed.status, crashed.code) == (500, "step_crashed")
        assert isinstance(crashed.__cause__, StepCrashed)  # which is logged with it
    assert await patient.run(client.request, "acme", task(tmp_path, "large 3"), options_at="query", too_long="Wait.")


async def test_who_finds_all_processes_busy_is_told_to_come_again(slots: Slots, tmp_path: Path) -> None:
    process = await slots.take("other")
    busy = await refusal(calls(slots, call_wait_seconds=0.05), Client(), task(tmp_path, "large 3"))
    assert (busy.status, busy.code, busy.headers["Retry-After"]) == (503, "busy", "5")
    slots.give_back(process)


async def test_what_nobody_waits_for_any_more_ends(slots: Slots, tmp_path: Path) -> None:
    client = Client()
    note = tmp_path / "begun"
    wanted = Task("csv-profile", "", {"do": "work 10", "note": str(note)}, str(tmp_path), 128, 1)
    running = asyncio.create_task(refusal(calls(slots), client, wanted))
    async with asyncio.timeout(30):
        while not note.exists():
            await asyncio.sleep(0.01)
    client.gone.set()
    assert (await running).code == "request_timeout"
