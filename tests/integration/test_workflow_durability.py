"""A job goes on where it was, whoever is killed, stopped or away: what was finished is not done again."""

import collections
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from deploy.postgres import PostgresServer
from fixtures.killable import LEASE_SECONDS, Machine, Notes
from fixtures.processor import TERMINAL, OpenProcessor, Processor, changes_of, step_of


def _work(blob: str, do: str, notes: Notes, name: str, **more: Any) -> dict[str, Any]:
    return {
        "uses": "csv-profile",
        "with": {"blob": blob, "options": {"do": do, "note": str(notes.path), "as": name}},
        **more,
    }


def _due(processor: Processor, job_id: UUID, step: str) -> set[str]:
    changes = [change for event in processor.watch.of_job(job_id) for change in changes_of(event)]
    return {change["due_at"] for change in changes if change["step"] == step and "due_at" in change}


async def test_a_timer_goes_on_where_it_was_and_what_was_finished_is_not_run_again(
    machine: Machine, notes: Notes
) -> None:
    client = machine.client
    first = await machine.start()
    blob = await client.store(b"")
    steps = {
        "a": _work(blob, "ok", notes, "a"),
        "each": {**_work(blob, "ok", notes, "each-${{ index }}", depends=["a"]), "map": {"items": [1, 2, 3]}},
        "rest": {"wait": {"timer": 2}, "depends": ["each"]},
        "b": _work(blob, "ok", notes, "b", depends=["rest"]),
    }
    job_id = await client.flow(steps)
    waiting = await client.watch.became(job_id, "rest", "WAITING")
    await first.kill()

    await machine.start()
    job = await client.finished(job_id)
    assert job["status"] == "COMPLETED"
    assert sorted(notes.lines()) == ["a", "b", "each-0", "each-1", "each-2"]
    assert len(_due(client, job_id, "rest")) == 1
    rested = await client.watch.became(job_id, "rest", "COMPLETED")
    assert rested.time >= waiting.time + timedelta(seconds=2)


async def test_a_killed_processors_steps_are_taken_over_within_two_leases(machine: Machine, notes: Notes) -> None:
    """And only the one that was running is run again."""
    lease = 3 * LEASE_SECONDS
    client, open_ = machine.client, machine.data_dir / "open"
    first = await machine.start(lease_seconds=lease)
    blob = await client.store(b"")
    steps = {"a": _work(blob, "ok", notes, "a"), "b": _work(blob, f"until {open_}", notes, "b", depends=["a"])}
    job_id = await client.flow(steps)
    await notes.until("b")
    await machine.start(lease_seconds=lease)
    now = await client.parts.pool.fetchval("SELECT clock_timestamp()")
    await first.kill()
    claimed = await client.watch.until(job_id, "job.claimed")
    assert claimed.time - now < timedelta(seconds=2 * lease)
    open_.touch()
    assert (await client.finished(job_id))["attempts"] == 2
    assert notes.lines() == ["a", "b", "b"]


@pytest.mark.parametrize("at", ["commit:after:2", "commit:before:5", "commit:after:7"])
async def test_a_processor_killed_at_a_chosen_commit_leaves_nothing_undone_and_nothing_done_needlessly(
    machine: Machine, notes: Notes, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    client, armed = machine.client, machine.data_dir / "armed"
    killpoint = Path(__file__).parents[1] / "chaos" / "killpoint"
    monkeypatch.setenv("PYTHONPATH", str(killpoint))
    monkeypatch.setenv("KILL_AT", at)
    monkeypatch.setenv("KILL_ARMED", str(armed))
    mortal = await machine.start()
    for name in ("PYTHONPATH", "KILL_AT", "KILL_ARMED"):
        monkeypatch.delenv(name)
    blob = await client.store(b"")
    steps = {
        "a": _work(blob, "ok", notes, "a"),
        "b": {**_work(blob, "ok", notes, "b-${{ index }}", depends=["a"]), "map": {"items": [1, 2], "parallel": 1}},
        "c": _work(blob, "ok", notes, "c", depends=["b"]),
        "d": _work(blob, "refuse", notes, "d", depends=["c"]),
    }
    steps["a"]["compensate"] = _work(blob, "ok", notes, "undo-a")
    job_id = await client.flow(steps)
    armed.touch()
    await mortal.process.wait()
    before = [change for event in client.watch.of_job(job_id) for change in changes_of(event)]
    ended = {(change["step"], change.get("item")) for change in before if change["became"] == "COMPLETED"}

    await machine.start()
    job = await client.finished(job_id)
    assert (job["status"], job["error"]["code"]) == ("FAILED", "refused")
    runs = collections.Counter(notes.lines())
    assert set(runs) == {"a", "b-0", "b-1", "c", "d", "undo-a"}
    once = {"a": ("a", None), "b-0": ("b", 0), "b-1": ("b", 1), "c": ("c", None), "undo-a": ("compensate:a", None)}
    assert {name for name, key in once.items() if key in ended and runs[name] > 1} == set()
    assert sum(runs.values()) <= 6 + 1, "only what ran when it was killed"
    types = client.types(job_id)
    assert [types.count("job.started"), sum(types.count(end) for end in TERMINAL)] == [1, 1]


async def test_a_parent_that_is_killed_meanwhile_hears_of_its_child(machine: Machine) -> None:
    client = machine.client
    first = await machine.start()
    await client.publish({"name": "child", "steps": {"s": {"wait": {"signal": "go"}}}})
    job_id = await client.flow({"sub": {"workflow": "child"}})
    await client.watch.became(job_id, "sub", "WAITING")
    child = UUID(step_of(await client.job(job_id), "sub")["child"])
    await client.watch.became(child, "s", "WAITING")
    await client.say(child, "signals/go", {"it": "was"})  # and nobody knows whether the processor has heard it
    await first.kill()
    await machine.start()
    assert (await client.finished(job_id))["result"] == {"it": "was"}
    assert client.types(child).count("job.completed") == 1


async def test_a_stopped_processor_that_wakes_up_writes_nothing(
    machine: Machine, open_processor: OpenProcessor, notes: Notes
) -> None:
    """Its job was taken over, and finished, while it was asleep."""
    client, open_ = machine.client, machine.data_dir / "open"
    sleepy = await machine.start()
    blob = await client.store(b"")
    steps = {
        "a": _work(blob, f"until {open_}", notes, "a"),
        "b": {"uses": "emit", "with": {"data": {"once": True}}, "depends": ["a"]},
    }
    job_id = await client.flow(steps)
    waiting = await client.flow({"wait": {"wait": {"signal": "go"}}})
    await client.watch.until(job_id, "job.progressed")
    sleepy.suspend()
    async with open_processor(obedient=True, lease_seconds=LEASE_SECONDS, claim_poll_seconds=0.1) as successor:
        await successor.watch.until(job_id, "job.claimed")
        await successor.say(waiting, "signals/go")
        open_.touch()
        await successor.finished(job_id)
        await successor.finished(waiting)
        head = await successor.parts.pool.fetchval("SELECT position FROM events.head")
        sleepy.go_on()
        await sleepy.logged("taken over", "lease lost")
        assert (await successor.outcome({"x": {"uses": "noop"}}))["status"] == "COMPLETED"
        whole = (await successor.get("/events?limit=1000&after=" + str(head)))[1]["items"]
        assert {event["subject"] for event in whole} & {f"job:{job_id}", f"job:{waiting}"} == set()
        types = successor.types(job_id)
        assert [types.count(once) for once in ("job.emitted", "job.claimed", "job.completed")] == [1, 1, 1]


async def test_of_two_processors_none_runs_what_the_other_runs(open_processor: OpenProcessor, notes: Notes) -> None:
    settings: dict[str, Any] = {"obedient": True, "lease_seconds": LEASE_SECONDS, "claim_poll_seconds": 0.05}
    async with open_processor(**settings) as one, open_processor(one.broker, **settings) as other:
        blob = await one.store(b"")
        each = {**_work(blob, "ok", notes, "${{ inputs.n }}-${{ index }}"), "map": {"items": [1, 2, 3]}}
        rest = {"wait": {"timer": 0.01}, "depends": ["each"]}
        await one.publish({"name": "w", "inputs": {"n": {"type": "integer"}}, "steps": {"each": each, "rest": rest}})
        jobs = [await part.start("w", input={"n": n}) for n in range(8) for part in (one, other)]
        for job_id in jobs:
            assert (await one.finished(job_id))["attempts"] == 1
        runs = collections.Counter(notes.lines())
        assert sum(runs.values()) == 2 * len(runs) == 2 * 8 * 3, "each number was started on both"


async def test_jobs_go_on_after_the_database_was_restarted_and_waits_were_not_forgotten(
    open_processor: OpenProcessor, postgres_server: PostgresServer, notes: Notes, tmp_path: Path
) -> None:
    open_ = tmp_path / "open"
    async with open_processor(obedient=True, claim_poll_seconds=0.1) as processor:
        blob = await processor.store(b"")
        working = await processor.flow({"a": _work(blob, f"until {open_}", notes, "a")})
        told = await processor.flow({"a": {"wait": {"signal": "go"}}})
        timed = await processor.flow({"a": {"wait": {"timer": 1}}, "b": _work(blob, "ok", notes, "b", depends=["a"])})
        await processor.watch.until(working, "job.progressed")
        await processor.watch.became(told, "a", "WAITING")
        await processor.say(told, "signals/go", "heard")
        await postgres_server.restart()
        open_.touch()
        assert (await processor.finished(told))["result"] == "heard"
        for job_id in (working, timed):
            assert (await processor.finished(job_id))["status"] == "COMPLETED"
        runs = collections.Counter(notes.lines())
        assert runs["b"] == 1
        for job_id in (working, told, timed):
            assert processor.types(job_id).count("job.completed") == 1


async def test_what_was_cancelled_stays_cancelled_and_is_undone_whoever_is_killed(
    machine: Machine, notes: Notes
) -> None:
    client, open_ = machine.client, machine.data_dir / "open"
    first = await machine.start()
    blob = await client.store(b"")
    steps = {
        "a": {"uses": "noop", "compensate": _work(blob, f"until {open_}", notes, "undo-a")},
        "b": {"uses": "noop", "depends": ["a"], "compensate": _work(blob, "ok", notes, "undo-b")},
        "c": {"wait": {"signal": "never"}, "depends": ["b"]},
    }
    job_id = await client.flow(steps)
    await client.watch.became(job_id, "c", "WAITING")
    await client.say(job_id, "cancel", {"reason": "Enough."})
    await notes.until("undo-a")
    await first.kill()
    open_.touch()
    await machine.start()
    job = await client.finished(job_id)
    assert (job["status"], job["error"]["detail"]) == ("CANCELLED", "Enough.")
    assert notes.lines() == ["undo-b", "undo-a", "undo-a"]
    assert msgspec.json.decode(client.watch.of_job(job_id)[-1].data)["error"]["code"] == "cancelled"
