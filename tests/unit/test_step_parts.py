"""What steps and their workers rely on: pacing, scratch folders, the tables of steps and workflows."""

import asyncio
from pathlib import Path

import pytest

from processor.progress import Pacer
from processor.scratch import folder_for, open_scratch
from processor.steps import STEPS
from processor.workflows.definition import WORKFLOWS


def test_every_step_of_every_workflow_has_a_handler() -> None:
    assert {step for workflow in WORKFLOWS.values() for step in workflow.steps} <= set(STEPS)


async def test_what_comes_too_fast_is_skipped_in_favour_of_what_comes_after() -> None:
    told: list[int] = []
    first, may_go_on = asyncio.Event(), asyncio.Event()

    async def tell(number: int) -> None:
        told.append(number)
        first.set()
        await may_go_on.wait()

    pacer = Pacer[int](tell, seconds_between=0)
    running = asyncio.create_task(pacer.run())
    pacer.report(1)
    await first.wait()
    for number in range(2, 100):
        pacer.report(number)
    may_go_on.set()
    pacer.close(superseded=False)
    await running
    assert told == [1, 99], "the last is never skipped"


@pytest.mark.parametrize(("superseded", "expected"), [(True, []), (False, [7])])
async def test_what_is_not_told_at_the_end_still_is_unless_the_end_says_more(
    superseded: bool, expected: list[int]
) -> None:
    told: list[int] = []

    async def tell(number: int) -> None:
        told.append(number)

    pacer = Pacer[int](tell, seconds_between=0)
    pacer.report(7)
    pacer.close(superseded=superseded)
    await pacer.run()
    assert told == expected


def test_a_processor_that_was_killed_leaves_its_folder_to_the_next_one(tmp_path: Path) -> None:
    with open_scratch(tmp_path) as alive:
        (alive / "kept").touch()
        killed = tmp_path / "killed"
        (killed / "spilled").mkdir(parents=True)
        with open_scratch(tmp_path) as successor:
            assert sorted(tmp_path.iterdir()) == sorted([alive, successor])
            with folder_for(successor, "job") as folder:
                (folder / "spilled").touch()
            assert list(successor.iterdir()) == []
    assert list(tmp_path.iterdir()) == []
