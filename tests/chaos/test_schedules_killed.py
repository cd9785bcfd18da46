"""SIGKILL of a processor before and after each append, while a schedule fires every second by the real clock.

Whoever starts next goes on where it was: every second has its job, and no second has two.
"""

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from deploy.provision import Database
from fixtures import processes
from fixtures.parts import PRINCIPAL_SECRET
from fixtures.passages import sampled
from fixtures.processor import TERMINAL, Watch, watching
from fixtures.schedules import HandClock, OpenReplica

_PROCESSOR = Path(processes.__file__).with_name("processor_with_steps.py")
_KILLPOINT = Path(__file__).parent / "killpoint"
_FIRINGS_AFTERWARDS = 3


class RealClock(HandClock):
    async def __call__(self) -> datetime:
        return datetime.now(UTC)


@pytest.mark.parametrize(("when", "nth"), sampled(list(product(["before", "after"], [1, 2, 3, 4]))))
async def test_a_processor_killed_at_any_append_leaves_no_second_without_its_job(
    database: Database, open_replica: OpenReplica, tmp_path: Path, when: str, nth: int
) -> None:
    armed = tmp_path / "armed"
    async with open_replica(RealClock()) as replica, watching(replica.parts) as watch:
        schedule = await replica.make(every_seconds=1, overlap="allow", catch_up="all")
        stream = f"schedule:{schedule.id}"
        dying = await _start(database, tmp_path, {"KILL_AT": f"append:{when}:{nth}", "KILL_ARMED": str(armed)})
        armed.touch()
        async with asyncio.timeout(60):
            assert await dying.wait() < 0, "it was killed"
        before = len(_said(watch, stream))
        heirs = [await _start(database, tmp_path, {}) for _ in range(2)]
        try:
            await watch.nth(stream, "schedule.fired", before + _FIRINGS_AFTERWARDS)
            await replica.schedules.pause("acme", schedule.id, "key:1")
            await watch.nth(stream, "schedule.paused", 1)
            fired = _said(watch, stream)
            for said in fired:
                await watch.until(UUID(said["job_id"]), *TERMINAL)
        finally:
            for heir in heirs:
                heir.kill()
                await heir.wait()

        seconds = [datetime.fromisoformat(said["at"]) for said in fired]
        assert seconds[0] == schedule.next_at
        assert all(later - earlier == timedelta(seconds=1) for earlier, later in pairwise(seconds))
        for said in fired:
            types = [event.type for event in watch.of_job(UUID(said["job_id"]))]
            assert [types.count("job.created"), sum(types.count(end) for end in TERMINAL)] == [1, 1]
        assert len(await replica.jobs(schedule.id)) == len(fired)


def _said(watch: Watch, stream: str) -> list[dict[str, Any]]:
    events = [event for event in watch.seen if (event.subject, event.type) == (stream, "schedule.fired")]
    return [msgspec.json.decode(event.data) for event in events]


async def _start(database: Database, data_dir: Path, killed: dict[str, str]) -> asyncio.subprocess.Process:
    paths = [str(_PROCESSOR.parents[2]), os.environ.get("PYTHONPATH", "")]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(_PROCESSOR),
        env=os.environ
        | killed
        | {
            "PYTHONPATH": os.pathsep.join([str(_KILLPOINT), *paths] if killed else paths),
            "MILLRACE_DATA_DIR": str(data_dir),
            "MILLRACE_DATABASE_URL": database.url("processor"),
            "MILLRACE_PRINCIPAL_SECRET": PRINCIPAL_SECRET,
            "MILLRACE_LEASE_SECONDS": "1",
            "MILLRACE_LOG_LEVEL": "ERROR",
        },
    )
