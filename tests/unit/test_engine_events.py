"""What a job's events say of it as a whole: how far it is, what it does, and never too much at once."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.jobs import JobStatus
from fixtures.engine import Driven, changes_of, planned, planned_unseen, types_of
from processor.workflows.commands import Begin, Command, Completed, Progress, Tick
from processor.workflows.record import CHANGES_PER_EVENT

NOOP: dict[str, Any] = {"uses": "noop"}


def started(steps: dict[str, Any], **more: Any) -> Driven:
    job = Driven(planned({"steps": steps, **more}))
    job.start()
    return job


def percents(job: Driven) -> list[int]:
    return [event.progress_percent for event, _ in job.log]


def test_each_step_counts_by_its_weight() -> None:
    job = started({"a": NOOP, "b": {**NOOP, "weight": 2, "depends": ["a"]}, "c": {**NOOP, "weight": 5}})
    job.complete("a")
    job.complete("b")
    job.complete("c")
    assert percents(job) == [0, 12, 37, 100]


def test_each_item_counts_by_its_share_of_the_map() -> None:
    job = started({"each": {**NOOP, "map": {"items": list(range(8))}}, "b": {**NOOP, "depends": ["each"]}})
    for item in range(8):
        job.complete("each", item=item)
    assert percents(job) == [0, 6, 12, 18, 25, 31, 37, 43, 50]


@pytest.mark.parametrize("count", [3, 7, 100, 999])
def test_shares_that_cannot_be_written_down_add_up(count: int) -> None:
    document = {"steps": {"each": {**NOOP, "map": {"items": list(range(count)), "parallel": 1000}}, "b": NOOP}}
    job = Driven(planned_unseen(document), check=False)
    job.start()
    job.tell(*[Completed(("each", item), 1) for item in range(count)])
    assert job.last.progress_percent == 50


def test_skipped_and_failed_steps_are_over_too() -> None:
    steps = {
        "a": {**NOOP, "when": "steps.b.status == 'FAILED'", "depends": ["b"]},
        "b": {**NOOP, "continue_on_failure": True},
        "c": {**NOOP, "map": {"items": []}},
        "d": NOOP,
    }
    job = started(steps)
    assert percents(job) == [25]
    job.complete("b")
    assert percents(job) == [25, 75]


def test_a_job_is_at_99_percent_until_it_is_completed() -> None:
    job = started({"a": NOOP}, on_exit=NOOP)
    job.tell(Progress(("a", None), 1.0))
    job.complete("a")
    assert percents(job) == [0, 99, 99]
    job.complete("on_exit")
    assert percents(job)[-1] == 100


def test_a_job_that_fails_stays_where_it_was() -> None:
    job = started({"a": NOOP, "b": {**NOOP, "compensate": NOOP, "depends": ["a"]}})
    job.complete("a")
    job.fail("b")
    job.complete("compensate:b")
    assert percents(job) == [0, 50, 50, 50]


def test_a_job_does_not_go_back_when_a_step_begins_anew_or_its_worker_dies() -> None:
    job = started({"a": {**NOOP, "retry": {"max": 5, "backoff": 0}}})
    job.tell(Progress(("a", None), 0.8))
    job.fail("a")
    job.after(0)
    job.tell(Progress(("a", None), 0.1))
    job.crash()
    job.tell(Progress(("a", None), 0.3))
    job.tell(Progress(("a", None), 0.81))
    assert percents(job) == [0, 80, 80, 80, 80, 81]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(allow_nan=True, allow_infinity=True)), max_size=30))
def test_whatever_steps_say_of_themselves_a_job_only_goes_on(said: list[tuple[str, float]]) -> None:
    job = started({"a": NOOP, "b": {**NOOP, "weight": 3}})
    for step, done in said:
        job.tell(Progress((step, None), done))
    assert percents(job) == sorted(percents(job))
    assert percents(job)[-1] <= 99


def test_progress_is_worth_an_event_when_the_percent_moves() -> None:
    job = started({"a": NOOP})
    assert types_of(job.tell(Progress(("a", None), 0.101))) == ["progressed"]
    assert job.tell(Progress(("a", None), 0.109)) == []
    assert job.tell(Progress(("a", None), 0.05)) == []
    assert types_of(job.tell(Progress(("a", None), 0.2), Progress(("a", None), 0.3))) == ["progressed"]


def test_a_message_alone_is_worth_an_event_every_five_seconds() -> None:
    job = started({"a": NOOP})
    said = []
    for second in range(60):
        said.append(len(job.tell(Progress(("a", None), 0.0, f"Row {second}"))))
        job.now = job.now.replace(second=second)
    assert sum(said) == 12
    assert job.tell(Progress(("a", None), 0.0, "Row 59")) == []
    assert job.last.step_message == "Row 56"


def test_with_what_moves_a_message_comes_at_once() -> None:
    job = started({"a": NOOP})
    job.tell(Progress(("a", None), 0.1, "One"))
    (event,) = job.tell(Progress(("a", None), 0.2, "Two"))
    assert event.step_message == "Two"
    (event,) = job.tell(Progress(("a", None), 0.3, None))
    assert event.step_message is None


def test_a_message_is_of_the_step_that_is_told_of() -> None:
    job = started({"a": NOOP, "b": NOOP, "c": {**NOOP, "depends": ["a"]}})
    job.tell(Progress(("a", None), 0.5, "Half of a"), Progress(("b", None), 0.5, "Half of b"))
    assert (job.last.current_step, job.last.step_message or "") == ("a", "")
    job.tell(Progress(("a", None), 0.6, "More of a"))
    assert job.last.step_message == "More of a"
    job.complete("a")
    assert job.last.current_step == "b"
    assert not job.last.step_message


def test_the_current_step_is_the_one_that_was_begun_first() -> None:
    job = started({"a": NOOP, "b": NOOP, "c": {"wait": {"timer": 9}}})
    job.complete("a")
    assert job.last.current_step == "b"
    job.complete("b")
    assert job.last.current_step == "c"


@pytest.mark.parametrize(("done", "seconds", "eta"), [(0.0, 10, None), (0.5, 10, 10), (0.25, 10, 30), (0.99, 99, 1)])
def test_how_long_it_will_take_is_how_long_it_has_taken(done: float, seconds: int, eta: int | None) -> None:
    job = started({"a": NOOP})
    job.now = job.now.replace(minute=seconds // 60, second=seconds % 60)
    job.tell(Progress(("a", None), done, "At work"))
    assert job.last.eta_seconds == eta


def test_a_job_that_does_not_go_on_does_not_say_how_long_it_will_take() -> None:
    job = started({"a": NOOP, "b": {"wait": {"signal": "go"}, "depends": ["a"]}})
    job.now = job.now.replace(second=30)
    job.complete("a")
    assert job.last.progress_percent == 50
    assert job.last.eta_seconds is None


def test_a_job_that_has_failed_does_not_say_how_long_it_will_take() -> None:
    """It said five seconds for ever: what it had believed halfway."""
    job = started({"a": NOOP, "b": {**NOOP, "depends": ["a"]}})
    job.now = job.now.replace(second=30)
    job.complete("a")
    assert job.last.eta_seconds == 30
    job.fail("b", "no")
    assert job.last.status is JobStatus.FAILED
    assert job.last.eta_seconds is None


# As few events as can say it, and none too large.


def test_what_happens_at_once_is_one_event() -> None:
    job = started({"a": NOOP, "b": {**NOOP, "depends": ["a"]}, "c": {**NOOP, "depends": ["a"]}})
    assert types_of(job.complete("a")) == ["advanced"]
    assert types_of(job.tell(Completed(("b", None), 1), Completed(("c", None), 1))) == ["completed"]
    assert job.types == ["started", "advanced", "completed"]


def test_a_job_of_one_step_is_two_events() -> None:
    job = started({"a": NOOP})
    job.complete("a")
    assert job.types == ["started", "completed"]


@pytest.mark.parametrize("count", [499, 500, 501, 1_000, 1_234])
def test_much_at_once_is_several_events_of_a_bearable_size(count: int) -> None:
    document = {"steps": {f"s{n}": NOOP for n in range(count)}}
    job = Driven(planned_unseen(document))
    started = job.start()
    ended = job.tell(*[Completed((f"s{n}", None), 1) for n in range(count)])
    for events in (started, ended):
        sizes = [len(changes_of([event])) for event in events]
        assert sum(sizes) == count
        assert max(sizes) <= CHANGES_PER_EVENT
        assert len(sizes) <= count // CHANGES_PER_EVENT + 2
    assert job.state.status is JobStatus.COMPLETED
    assert [event.event_type for event in started][1:] == ["job.advanced"] * (len(started) - 1)


def test_what_is_emitted_is_said_once_with_the_steps_end() -> None:
    job = started({"say": {"uses": "emit", "with": {"data": {}}}, "b": {**NOOP, "depends": ["say"]}})
    command: Command = Completed(("say", None), 1, {"data": {"hello": "world"}})
    (event,) = job.tell(command, command)
    assert (event.event_type, event.step, event.item, event.data) == ("job.emitted", "say", None, {"hello": "world"})
    assert [change["became"] for change in changes_of([event])] == ["COMPLETED", "RUNNING"]
    job.crash()
    assert job.tell(command) == []
    assert job.types.count("emitted") == 1


def test_each_item_that_emits_is_an_event_of_its_own() -> None:
    job = started({"say": {"uses": "emit", "with": {"data": {}}, "map": {"items": [1, 2, 3]}}})
    job.tell(*[Completed(("say", item), 1, {"data": {"n": item}}) for item in range(3)])
    assert job.types == ["started", "emitted", "emitted", "emitted", "completed"]
    assert [event.item for event, _ in job.log[1:4]] == [0, 1, 2]


def test_what_changes_nothing_is_no_event() -> None:
    job = started({"a": NOOP})
    assert job.tell() == []
    assert job.tell(Tick(), Begin(), Tick()) == []
