"""What people suffer from with other engines, told as what happens here. Work is counted, not timed."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from events.jobs import JobStatus, SubStatus
from fixtures.engine import Driven, changes_of, planned, planned_unseen
from processor.workflows.commands import Begin, Completed
from processor.workflows.reuse import reusable
from processor.workflows.waiting import under_way

NOOP: dict[str, Any] = {"uses": "noop"}


def calls_in(work: Callable[[], object]) -> int:
    """How many functions are called by it, ours and Python's: what it costs, on every machine the same."""
    counted = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted


def run(document: dict[str, Any]) -> tuple[Driven, list[int]]:
    """A job run step by step, and the work that each of them was."""
    job = Driven(planned_unseen(document), check=False)
    costs = [calls_in(job.start)]
    while job.state.running:
        (step, item), node = next(iter(job.state.running.items()))
        costs.append(calls_in(partial(job.tell, Completed((step, item), node.attempt, {"n": 1}))))
    assert job.state.status is JobStatus.COMPLETED
    return job, costs


def assert_no_step_costs_more_than_another(costs: list[int]) -> None:
    """But the first and the last, which begin and give it all."""
    usual = sorted(costs)[len(costs) // 2]
    assert max(costs[2:-2]) < 5 * usual


def test_a_job_of_a_thousand_items_that_fails_at_one_goes_on_at_that_one() -> None:
    """No resume from the failed step or map item: prefect #21727, temporal #8901, hatchet #1212."""
    steps = {
        "fetch": NOOP,
        "each": {**NOOP, "depends": ["fetch"], "map": {"items": list(range(1_000)), "parallel": 50}},
        "report": {**NOOP, "depends": ["each"]},
    }
    job = Driven(planned({"steps": steps}), check=False)
    job.start()
    job.complete("fetch")
    for item in range(700):
        job.complete("each", item, item=item)
    job.fail("each", item=700)
    job.finish()
    again = Driven(job.plan, check=False)
    again.tell(Begin(reused=reusable(job.state)))
    done_again = 0
    while ("each", None) in again.state.nodes and again.statuses["each"] == "RUNNING":
        _, item = again.running[0]
        again.complete("each", item, item=item)
        done_again += 1
    assert done_again == 300
    again.complete("report", "done")
    assert again.last.result == "done"


@pytest.mark.parametrize("parallel", [16, 1_000])
def test_ten_thousand_items_cost_ten_thousand_times_one(parallel: int) -> None:
    """Fan-out that collapses at thousands: prefect #16299, conductor #18."""
    items = list(range(10_000))
    job, costs = run({"steps": {"each": {**NOOP, "map": {"items": items, "parallel": parallel}}}})
    assert_no_step_costs_more_than_another(costs)
    assert len(job.log) <= 10_001
    assert len(changes_of(event for event, _ in job.log)) == 10_002, "each is said once, at its end"
    assert max(len(event.encode()) for event, _ in job.log[:-1]) < 100_000


def test_a_thousand_steps_that_need_nothing_cost_a_thousand_times_one() -> None:
    _, costs = run({"steps": {f"s{n}": NOOP for n in range(1_000)}})
    assert_no_step_costs_more_than_another(costs)
    assert costs[0] < 200 * 1_000


def test_a_thousand_steps_in_a_row_cost_a_thousand_times_one() -> None:
    steps = {f"s{n}": {**NOOP, **({"depends": [f"s{n - 1}"]} if n else {})} for n in range(1_000)}
    job, costs = run({"steps": steps})
    assert_no_step_costs_more_than_another(costs)
    assert len(job.log) == 1_001


def test_forty_steps_in_a_row_are_forty_one_events() -> None:
    """The yardstick of Windmill's comparison: 40 steps, one after the other."""
    steps = {f"s{n}": {**NOOP, **({"depends": [f"s{n - 1}"]} if n else {})} for n in range(40)}
    job, _ = run({"steps": steps})
    assert len(job.log) == 41


def test_a_diamond_of_five_hundred_joins_at_the_cost_of_its_edges() -> None:
    middle = [f"m{n}" for n in range(500)]
    steps = {"a": NOOP, **{name: {**NOOP, "depends": ["a"]} for name in middle}, "z": {**NOOP, "depends": middle}}
    job, costs = run({"steps": steps})
    assert_no_step_costs_more_than_another(costs)
    assert job.began()[-1] == "z"


def test_a_layered_graph_of_a_hundred_thousand_edges_is_walked_once() -> None:
    layers = [[f"l{layer}-{n}" for n in range(100)] for layer in range(10)]
    steps: dict[str, Any] = {}
    for layer, names in enumerate(layers):
        steps |= {name: {**NOOP, "depends": layers[layer - 1] if layer else []} for name in names}
    _, costs = run({"steps": steps})
    assert sum(costs) < 1_000 * 1_000


@pytest.mark.parametrize("handled", ["waits", "is tried again"])
def test_a_thousand_that_wait_do_not_slow_the_one_that_works(handled: str) -> None:
    idle = {"wait": {"signal": "never"}} if handled == "waits" else {**NOOP, "retry": {"backoff": 9_000, "max": 5}}
    documents = [
        {
            "steps": {
                "idle": {**idle, "map": {"items": list(range(count)), "parallel": 1_000}},
                "busy": {**NOOP, "map": {"items": list(range(20)), "parallel": 1}},
            }
        }
        for count in (1, 1_000)
    ]
    costs = []
    for document in documents:
        job = Driven(planned_unseen(document), check=False)
        job.start()
        for key in [key for key in job.running if key[0] == "idle"]:
            job.fail("idle", item=key[1])
        job.signal("unheard", 1)
        costs.append(calls_in(partial(job.complete, "busy", {"n": 1}, item=0)))
    assert costs[1] < costs[0] * 1.5


def test_a_cancel_does_not_wait_for_the_step_to_end() -> None:
    """Cancel that waits for the step to end: dbos #443."""
    steps = {"long": NOOP, "timer": {"wait": {"timer": 86_400}}, "again": {**NOOP, "retry": {"backoff": 3_600}}}
    job = Driven(planned({"steps": steps}))
    job.start()
    job.fail("again")
    (event,) = job.cancel()
    assert event.sub_status is SubStatus.CANCELLING, "whoever watches knows at once"
    assert job.statuses == {"long": "RUNNING", "timer": "CANCELLED", "again": "CANCELLED"}
    job.stopped("long")
    assert job.state.status is JobStatus.CANCELLED


def test_a_payment_whose_worker_died_is_paid_back() -> None:
    """A compensation registered after its step: the charge was made, and nobody ever knew how to undo it."""
    steps = {"charge": {**NOOP, "compensate": NOOP}, "ship": {"wait": {"approval": "In stock?"}}}
    job = Driven(planned({"steps": steps}))
    job.start()
    job.crash()
    job.signal("ship", {"approved": False})
    job.stopped("charge")
    assert job.running == ["compensate:charge"]


def test_anybody_can_say_what_keeps_a_job_from_going_on() -> None:
    """Nobody can say what blocks a run: prefect #7536."""
    blocked = {
        "approval": {"wait": {"approval": "Deploy?"}},
        "signal": {"wait": {"signal": "paid"}, "timeout": 60},
        "time": {"wait": {"timer": 30}},
        "job": {"workflow": "other"},
        "remote": {"uses": "remote/gpu"},
        "retry": {**NOOP, "retry": {"backoff": 10, "jitter": 0}},
    }
    for kind, step in blocked.items():
        job = Driven(planned({"steps": {"a": step}}))
        job.start()
        if kind == "retry":
            job.fail("a")
        node = job.node("a")
        row = {"step": "a", "item": -1, "status": node.status, "attempt": node.attempt, "due_at": node.due_at}
        row |= {"child": node.child, "since": None, "taken_at": None, "worker": None, "question": "Deploy?"}
        (found,) = under_way(job.state.status, job.sub_status, [row], job.plan)
        assert (found.kind, found.step, found.until) == (kind, "a", node.due_at)
        assert found.signal == {"approval": "a", "signal": "paid"}.get(kind)
        assert job.last.step_message, "the log itself says so too"
        job.pause()
        (found,) = under_way(job.state.status, job.sub_status, [], job.plan)
        assert found.kind == "resume"


def test_a_reader_of_the_log_knows_all_that_a_worker_knew() -> None:
    """State in a worker's memory that its successor does not have. Every other test of a driven job checks this too,
    after each event."""
    steps = {
        "each": {**NOOP, "map": {"items": list(range(30)), "parallel": 7}, "retry": {"max": 2, "backoff": 0}},
        "wait": {"wait": {"signal": "go"}},
        "sub": {"workflow": "other", "depends": ["wait"], "compensate": NOOP},
    }
    job = Driven(planned({"steps": steps}))
    job.start()
    for number in range(12):
        job.crash(crashed=False)
        item = job.running[number % len(job.running)][1]
        job.fail("each", item=item) if number % 3 == 0 else job.complete("each", item=item)
        job.after(1)
        if number == 6:
            job.signal("go")
    job.child_ended("sub", JobStatus.COMPLETED)
    while job.state.running:
        job.crash(crashed=False)
        job.complete("each", item=job.running[0][1])
    assert job.state.status is JobStatus.COMPLETED
