"""Sub-workflows: a step that is a job of its own."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from events.envelope import new_event, stream_name
from events.ids import new_id
from events.jobs import JobCreated, JobStatus, Parent
from events.log.append import Appender
from fixtures.log import request
from fixtures.processor import OpenProcessor, Processor, step_of

_CHILD: dict[str, Any] = {
    "name": "child",
    "inputs": {"n": {"type": "integer", "minimum": 0}, "more": {"type": "integer", "default": 5}},
    "steps": {"a": {"uses": "noop", "with": {"sum": "${{ inputs.n + inputs.more }}"}}},
    "output": {"sum": "${{ steps.a.output.sum }}"},
}


async def _child_of(processor: Processor, job_id: UUID, step: str, *, item: int | None = None) -> UUID:
    await processor.watch.became(job_id, step, "WAITING", item=item)
    return UUID(step_of(await processor.job(job_id), step)["child"])


async def test_a_step_is_a_job_of_its_own_with_its_inputs_and_its_result(processor: Processor) -> None:
    await processor.publish(_CHILD)
    steps = {
        "sub": {"workflow": "child", "with": {"n": "${{ inputs.n }}"}},
        "each": {
            "workflow": "child",
            "version": 1,
            "map": {"items": [1, 2, 3], "parallel": 2},
            "with": {"n": "${{ item }}", "more": 0},
        },
    }
    output = {"sub": "${{ steps.sub.output.sum }}", "each": "${{ steps.each.output }}"}
    job = await processor.outcome(steps, inputs={"n": {"type": "integer"}}, output=output, given={"n": 4})
    assert job["result"] == {"sub": 9, "each": [{"sum": 1}, {"sum": 2}, {"sum": 3}]}
    child = await processor.job(UUID(step_of(job, "sub")["child"]))
    assert (child["workflow"], child["input"]) == ("child", {"n": 4, "more": 5}), "with its defaults"
    assert (child["parent"]["job_id"], child["parent"]["step"]) == (job["id"], "sub")


@pytest.mark.parametrize(
    ("given", "code"), [({"n": -1}, "invalid_input"), ({"n": "x"}, "invalid_input"), ({}, "expression_failed")]
)
async def test_a_child_that_can_not_be_started_fails_its_step(
    processor: Processor, given: dict[str, Any], code: str
) -> None:
    await processor.publish(_CHILD)
    steps = {"sub": {"workflow": "child", "with": {"n": "${{ inputs.all.n }}"}}}
    job = await processor.outcome(steps, inputs={"all": {"type": "object"}}, given={"all": given})
    assert (job["status"], job["error"]["code"]) == ("FAILED", code)
    assert len((await processor.get("/jobs"))[1]["items"]) == 1


async def test_a_child_of_a_workflow_that_was_retired_meanwhile_is_not_started(processor: Processor) -> None:
    await processor.publish(_CHILD)
    steps = {"go": {"wait": {"signal": "go"}}, "sub": {"workflow": "child", "with": {"n": 1}, "depends": ["go"]}}
    job_id = await processor.flow(steps)
    await processor.delete("/workflows/child")
    await processor.say(job_id, "signals/go")
    assert (await processor.finished(job_id))["error"]["code"] == "conflict"


async def test_a_child_that_fails_fails_its_step_and_a_retry_of_the_step_is_another_child(
    open_processor: OpenProcessor, tmp_path: Path
) -> None:
    notes, there = tmp_path / "notes", tmp_path / "there"
    async with open_processor(obedient=True) as processor:
        blob = await processor.store(b"")
        options = {"do": f"unless {there}", "note": str(notes), "as": "x"}
        await processor.publish(
            {"name": "c", "steps": {"s": {"uses": "csv-profile", "with": {"blob": blob, "options": options}}}}
        )
        steps = {"sub": {"workflow": "c", "retry": {"max": 1, "backoff": 0.05, "on": ["not_yet"]}}}
        job_id = await processor.flow(steps)
        job = await processor.finished(job_id)
        assert (job["status"], job["error"]["code"]) == ("FAILED", "not_yet")
        assert (step_of(job, "sub")["attempt"], len(notes.read_text().split())) == (2, 2)
        there.touch()
        _, again = await processor.post(f"/jobs/{job_id}/retry")
        assert (await processor.finished(UUID(again["id"])))["status"] == "COMPLETED"


async def test_a_cancel_goes_down_to_the_children_and_theirs(processor: Processor) -> None:
    await processor.publish({"name": "inner", "steps": {"s": {"wait": {"signal": "never"}}}})
    await processor.publish({"name": "outer", "steps": {"s": {"workflow": "inner"}}})
    job_id = await processor.flow(
        {"sub": {"workflow": "outer"}, "each": {"workflow": "inner", "map": {"items": [1, 2]}}}
    )
    child = await _child_of(processor, job_id, "sub")
    await processor.watch.until(child, "job.started")
    grandchild = await _child_of(processor, child, "s")
    await processor.watch.became(grandchild, "s", "WAITING")
    await processor.say(job_id, "cancel")
    assert (await processor.finished(job_id))["status"] == "CANCELLED"
    jobs = (await processor.get("/jobs"))[1]["items"]
    assert [job["status"] for job in jobs] == ["CANCELLED"] * 5


async def test_a_step_that_fails_ends_the_children_of_the_others(processor: Processor) -> None:
    await processor.publish({"name": "c", "steps": {"s": {"wait": {"signal": "never"}}}})
    steps = {
        "sub": {"workflow": "c"},
        "wait": {"wait": {"signal": "go"}},
        "bad": {"uses": "noop", "with": {"x": "${{ 1 / inputs.n }}"}, "depends": ["wait"]},
    }
    job_id = await processor.flow(steps, inputs={"n": {"type": "integer"}}, given={"n": 0})
    child = await _child_of(processor, job_id, "sub")
    await processor.watch.until(child, "job.started")
    await processor.say(job_id, "signals/go")
    assert (await processor.finished(job_id))["status"] == "FAILED"
    assert (await processor.job(child))["status"] == "CANCELLED"


async def test_a_child_that_takes_too_long_is_ended(processor: Processor) -> None:
    """Its step failed, and the child went on without anybody who wanted it."""
    await processor.publish({"name": "c", "steps": {"s": {"wait": {"signal": "never"}}}})
    job_id = await processor.flow({"sub": {"workflow": "c", "timeout": 0.5, "continue_on_failure": True}})
    child = await _child_of(processor, job_id, "sub")
    job = await processor.finished(job_id)
    assert step_of(job, "sub")["error"]["code"] == "wait_timeout"
    assert (await processor.finished(child))["status"] == "CANCELLED"


async def test_a_child_that_nobody_waits_for_does_not_begin(processor: Processor) -> None:
    """Somebody who had lost its parent, and did not know it yet, has started it after its step had ended."""
    await processor.publish(_CHILD)
    created = JobCreated(
        status=JobStatus.PENDING,
        progress_percent=0,
        current_step=None,
        step_message=None,
        workflow="child",
        input={"n": 1},
        parent=Parent(job_id=new_id(), step="sub"),
    )
    late = new_event(
        type=created.event_type,
        stream=stream_name("job", child := new_id()),
        tenant="acme",
        source="/test",
        data=created.encode(),
    )
    async with Appender(processor.parts.pool, function="processor.append") as appender:
        await appender.append(request(late))
    assert (await processor.finished(child))["status"] == "CANCELLED"


async def test_a_child_that_is_cancelled_fails_its_step(processor: Processor) -> None:
    await processor.publish({"name": "c", "steps": {"s": {"wait": {"signal": "never"}}}})
    job_id = await processor.flow({"sub": {"workflow": "c"}})
    child = await _child_of(processor, job_id, "sub")
    await processor.watch.until(child, "job.started")
    await processor.say(child, "cancel", {"reason": "Enough."})
    job = await processor.finished(job_id)
    assert (job["status"], job["error"]) == ("FAILED", {"code": "cancelled", "detail": "Enough."})


async def test_workflows_that_start_each_other_come_to_an_end(open_processor: OpenProcessor) -> None:
    async with open_processor() as processor:
        await processor.publish({"name": "a", "steps": {"s": {"uses": "noop"}}})
        await processor.publish({"name": "b", "steps": {"s": {"workflow": "a"}}})
        await processor.publish({"name": "a", "steps": {"s": {"workflow": "b"}}})
        job = await processor.finished(await processor.start("a"))
        assert (job["status"], job["error"]["code"]) == ("FAILED", "conflict")
        assert "deep" in job["error"]["detail"]
        async with asyncio.timeout(30):
            while await processor.parts.pool.fetchval("SELECT count(*) FROM processor.queue"):
                await asyncio.sleep(0.05)
        assert len((await processor.get("/jobs"))[1]["items"]) == 21


async def test_a_child_does_not_wait_for_the_place_that_its_ancestor_keeps(processor: Processor) -> None:
    """Each would wait for the other, for ever."""
    limited = {"concurrency": {"limit": 1, "key": "${{ inputs.who }}", "limit_per_key": 1}}
    inputs = {"who": {"type": "string"}, "whom": {"type": "string"}}
    await processor.publish({"name": "a", "inputs": inputs, "steps": {"s": {"uses": "noop"}}})
    below = {"s": {"workflow": "a", "with": {"who": "${{ inputs.whom }}", "whom": "nobody"}}}
    await processor.publish({"name": "b", "inputs": inputs, "steps": below})
    above = {
        "s": {"workflow": "b", "with": {"who": "x", "whom": "${{ inputs.whom }}"}, "when": "inputs.whom != 'nobody'"}
    }
    await processor.publish({"name": "a", "inputs": inputs, "steps": above, **limited})
    job = await processor.finished(await processor.start("a", input={"who": "ann", "whom": "bob"}))
    assert (job["status"], job["error"]["code"]) == ("FAILED", "conflict")
    assert "could wait for each other for ever" in job["error"]["detail"]
    by_key = {"concurrency": {"key": "${{ inputs.who }}", "limit_per_key": 1}}
    await processor.publish({"name": "a", "inputs": inputs, "steps": above, **by_key})
    assert (await processor.finished(await processor.start("a", input={"who": "ann", "whom": "ann"})))[
        "status"
    ] == "FAILED"
    assert (await processor.finished(await processor.start("a", input={"who": "ann", "whom": "bob"})))[
        "status"
    ] == "COMPLETED"


async def test_jobs_of_jobs_are_judged_by_the_quota_too(open_processor: OpenProcessor) -> None:
    async with open_processor(quota_open_jobs=3) as processor:
        await processor.publish({"name": "slow", "steps": {"s": {"wait": {"signal": "go"}}}})
        steps = {"each": {"workflow": "slow", "map": {"items": [1, 2, 3], "parallel": 3}}}
        job = await processor.outcome(steps)
        assert (job["status"], job["error"]["code"]) == ("FAILED", "quota_exceeded")
        assert (await processor.outcome({"s": {"uses": "noop"}}))["status"] == "COMPLETED", "its children have ended"


async def test_a_childs_large_result_is_read_as_it_is(processor: Processor) -> None:
    """Beyond what fits into an event it says where it is; a parent's expressions want what it is."""
    child = {
        "name": "large",
        "inputs": {"text": {"type": "string"}},
        "steps": {"a": {"uses": "noop", "with": {"text": "${{ inputs.text }}", "n": 7}}},
    }
    await processor.publish(child)
    steps = {
        "sub": {"workflow": "large", "with": {"text": "${{ inputs.text }}"}},
        "seen": {"uses": "noop", "depends": ["sub"], "with": {"n": "${{ steps.sub.output.n }}"}},
    }
    job = await processor.outcome(steps, given={"text": "x" * 40_000})
    assert (job["status"], job["result"]) == ("COMPLETED", {"n": 7})
