"""What steps and their workers rely on: pacing, scratch folders, the tables of steps and workflows."""

from pathlib import Path

import pytest

from processor.cleaning import small_views
from processor.cleaning.query import views as queries
from processor.handlers import HANDLERS, Runs, missing_handlers
from processor.language.definition import Definition
from processor.progress import Pace
from processor.scratch import folder_for, open_scratch
from processor.steps import STEPS
from processor.workflows.built_in import BUILT_IN
from processor.workflows.commands import Progress
from processor.workflows.plan import plan
from processor.workflows.record import SECONDS_BETWEEN_MESSAGES


def test_what_computes_has_its_code_where_steps_are_run() -> None:
    of_workflows = {name for name, handler in HANDLERS.items() if handler.runs is Runs.PROCESS}
    assert of_workflows | {small_views.STEP, queries.STEP} == set(STEPS)


@pytest.mark.parametrize("definition", BUILT_IN.values(), ids=lambda definition: definition.name)
def test_every_step_of_a_built_in_workflow_has_a_handler(definition: Definition) -> None:
    assert missing_handlers(plan(definition).handlers) == []


KEY = ("read", None)


def test_what_comes_too_fast_is_skipped_in_favour_of_what_comes_after() -> None:
    pace = Pace(lambda: None, seconds_between=0.1)
    pace.report(Progress(KEY, 0.01))
    assert pace.due(1.0) == [Progress(KEY, 0.01)]
    for percent in range(2, 100):
        pace.report(Progress(KEY, percent / 100))
    assert pace.due(1.05) == []
    assert pace.due_in(1.05) == pytest.approx(0.05)
    assert pace.due(1.1) == [Progress(KEY, 0.99)], "the last is never skipped"


def test_a_message_that_came_too_soon_is_said_again_when_it_may_be() -> None:
    pace = Pace(lambda: None, seconds_between=0.1)
    pace.report(Progress(KEY, 0.5, "one"))
    pace.due(1.0)
    pace.report(Progress(KEY, 0.5, "two"))
    pace.due(1.1)
    assert pace.due_in(1.1) == pytest.approx(SECONDS_BETWEEN_MESSAGES)
    assert pace.due(1.1 + SECONDS_BETWEEN_MESSAGES) == [Progress(KEY, 0.5, "two")]


def test_the_end_of_a_step_says_more_than_its_progress() -> None:
    pace = Pace(lambda: None)
    pace.report(Progress(KEY, 0.5))
    pace.forget(KEY)
    assert pace.due(1.0) == []
    assert pace.due_in(1.0) is None


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
