"""What a job computes in one go is bounded, whatever its expressions do, and where it stops makes no difference."""

import pytest

from events.jobs import JobStatus, StepStatus
from fixtures.engine import Driven, planned
from fixtures.engine_documents import Dice
from fixtures.engine_world import live
from processor.language.operands import MOST_WORK
from processor.workflows import record
from processor.workflows.commands import Begin, Cancel, Command, Tick
from processor.workflows.fold import evolve
from processor.workflows.record import WORK_PER_FACT, WORK_PER_TURN, Turn

ITEMS = 200
COSTLY = {
    "inputs": {"texts": {"type": "array"}},
    "steps": {
        "each": {
            "map": {"items": f"${{{{ range({ITEMS}) }}}}", "parallel": ITEMS},
            "wait": {"approval": "${{ len(join(inputs.texts, ',')) }} and ${{ item }}?"},
        }
    },
}
LONGEST_TURN = WORK_PER_TURN + MOST_WORK + 2 * WORK_PER_FACT


def one_turn(job: Driven, *commands: Command) -> bool:
    """Whether there is more to say."""
    turn = Turn(job.state, job.now, job.limits)
    for _ in turn.decide(commands):
        pass
    job.log += [(event, job.now) for event in turn.finish()]
    return turn.is_cut


def test_items_whose_expressions_take_long_begin_in_many_turns() -> None:
    """They all began in one, which took half a minute. Nothing was renewed meanwhile, so that the steps of other
    tenants counted a crash of their worker."""
    job = Driven(planned(COSTLY), {"texts": ["text"] * 5_000})
    command: Command = Begin()
    turns, work, more = 0, 0, True
    while more:
        more = one_turn(job, command)
        assert job.state.work - work <= LONGEST_TURN
        command, work, turns = Tick(), job.state.work, turns + 1
    assert turns > 20
    assert len(job.waiting) == ITEMS
    assert len(job.folded().held_back) == ITEMS


def test_whoever_takes_a_job_over_between_two_turns_goes_on_with_it() -> None:
    job = Driven(planned(COSTLY), {"texts": ["text"] * 5_000})
    assert one_turn(job, Begin())
    assert 0 < len(job.waiting) < ITEMS
    job.state = job.folded()
    begun = len(job.waiting)
    assert one_turn(job, Begin(taken_over=True))
    assert len(job.waiting) > begun
    one_turn(job, Cancel())
    assert job.state.status is job.folded().status is JobStatus.CANCELLED


def test_a_command_that_says_much_gives_others_a_turn_in_between() -> None:
    """A retried job may reuse each of a hundred thousand items."""
    job = Driven(planned({"steps": {"each": {"uses": "noop", "map": {"items": "${{ range(2000) }}"}}}}))
    reused = [
        {"step": "each", "item": item, "became": StepStatus.COMPLETED, "output": {}, "reused": True}
        for item in range(2000)
    ]
    turn = Turn(job.state, job.now, job.limits)
    assert len(list(turn.decide([Begin(reused=reused)]))) >= 2  # type: ignore[arg-type]
    for event in turn.finish():
        evolve(job.folded(), event, job.now)
    assert job.state.maps == {}


def test_one_evaluation_that_would_take_long_fails_its_step() -> None:
    steps = {"a": {"uses": "noop", "when": "inputs.rows == inputs.rows"}}
    rows = [{"of": number} for number in range(50_000)]
    job = Driven(planned({"inputs": {"rows": {}}, "steps": steps}), {"rows": rows})
    job.start()
    assert job.state.outcome is not None
    assert (job.state.outcome.code, job.state.outcome.detail) == (
        "expression_failed",
        "The expression would take too long with what it was given.",
    )


def test_no_diced_history_is_another_one_in_short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "WORK_PER_TURN", 0)
    for seed in range(200):
        live(Dice(seed), moves=40)
