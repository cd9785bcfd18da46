"""A retry is a new job that does again what the former one has not finished, and nothing else."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

from fixtures.processor import STRANGER, WRITER, OpenProcessor, Processor, step_of
from processor.results import INLINE_BYTES


def _work(blob: str, do: str, notes: Path, name: str, **more: Any) -> dict[str, Any]:
    return {
        "uses": "csv-profile",
        "with": {"blob": blob, "options": {"do": do, "note": str(notes), "as": name}},
        **more,
    }


async def _retried(processor: Processor, job_id: UUID, **how: Any) -> UUID:
    status, job = await processor.post(f"/jobs/{job_id}/retry", **how)
    assert (status, job["retry_of"]) == (202, str(job_id)), job
    return UUID(job["id"])


async def _retried_or_told(processor: Processor, job_id: UUID) -> UUID:
    """The retry, whether it has come of this or of another request."""
    status, answer = await processor.post(f"/jobs/{job_id}/retry")
    return UUID(answer["id"] if status == 202 else answer["detail"].split()[3])


async def test_what_was_finished_is_not_run_again_neither_steps_nor_items(
    open_processor: OpenProcessor, tmp_path: Path
) -> None:
    notes, there = tmp_path / "notes", tmp_path / "there"
    async with open_processor(obedient=True) as processor:
        blob = await processor.store(b"")
        large = 2 * INLINE_BYTES
        steps = {
            "first": _work(blob, f"large {large}", notes, "first"),
            "each": {
                **_work(blob, "${{ item }}", notes, "each-${{ index }}", depends=["first"]),
                "map": {"items": ["ok", f"unless {there}", f"large {large}"], "parallel": 1},
                "continue_on_failure": True,
            },
            "last": _work(blob, f"unless {there}", notes, "last", depends=["each"]),
            "sum": {
                "uses": "noop",
                "depends": ["last"],
                "with": {"sum": "${{ steps.first.output.size + steps.each.output[2].size }}"},
            },
        }
        await processor.publish({"name": "w", "steps": steps, "output": {"sum": "${{ steps.sum.output.sum }}"}})
        former = await processor.start("w")
        job = await processor.finished(former)
        assert (job["status"], job["error"]["code"]) == ("FAILED", "not_yet")
        assert notes.read_text().split() == ["first", "each-0", "each-1", "each-2", "last"]

        there.touch()
        notes.unlink()
        job = await processor.finished(await _retried(processor, former))
        assert (job["status"], job["result"]) == ("COMPLETED", {"sum": 2 * large})
        assert notes.read_text().split() == ["each-1", "last"]
        reused = {step["id"]: step["reused"] for step in job["steps"]}
        assert reused == {"first": True, "each": False, "last": False, "sum": False}
        _, page = await processor.get(f"/jobs/{job['id']}/steps/each/items")
        assert [item["reused"] for item in page["items"]] == [True, False, True]
        assert (await processor.job(former))["status"] == "FAILED", "what was stays what it was"


async def test_a_retry_of_a_retry_reuses_what_both_have_done(open_processor: OpenProcessor, tmp_path: Path) -> None:
    notes, one, two = tmp_path / "notes", tmp_path / "one", tmp_path / "two"
    async with open_processor(obedient=True) as processor:
        blob = await processor.store(b"")
        steps = {
            "a": _work(blob, "ok", notes, "a"),
            "b": _work(blob, f"unless {one}", notes, "b", depends=["a"]),
            "c": _work(blob, f"unless {two}", notes, "c", depends=["b"]),
        }
        job_id = await processor.flow(steps)
        await processor.finished(job_id)
        one.touch()
        again = await _retried(processor, job_id)
        assert (await processor.finished(again))["status"] == "FAILED"
        two.touch()
        assert (await processor.finished(await _retried(processor, again)))["status"] == "COMPLETED"
        assert notes.read_text().split() == ["a", "b", "b", "c", "c"]


async def test_what_was_undone_is_done_again(open_processor: OpenProcessor, tmp_path: Path) -> None:
    notes, there = tmp_path / "notes", tmp_path / "there"
    async with open_processor(obedient=True) as processor:
        blob = await processor.store(b"")
        steps = {
            "a": {**_work(blob, "ok", notes, "a"), "compensate": _work(blob, "ok", notes, "undo-a")},
            "b": _work(blob, f"unless {there}", notes, "b", depends=["a"]),
        }
        job_id = await processor.flow(steps)
        await processor.finished(job_id)
        there.touch()
        assert (await processor.finished(await _retried(processor, job_id)))["status"] == "COMPLETED"
        assert notes.read_text().split() == ["a", "b", "undo-a", "a", "b"]


async def test_a_cancelled_job_can_be_retried_and_a_finished_or_running_one_not(processor: Processor) -> None:
    job_id = await processor.flow({"a": {"uses": "noop"}, "b": {"wait": {"signal": "go"}, "depends": ["a"]}})
    await processor.watch.became(job_id, "b", "WAITING")
    status, problem = await processor.post(f"/jobs/{job_id}/retry")
    assert (status, problem["code"]) == (409, "conflict")
    await processor.say(job_id, "cancel")
    await processor.finished(job_id)
    again = await _retried(processor, job_id, key="k")
    assert await _retried(processor, job_id, key="k") == again
    for key in ("l", ""):
        status, problem = await processor.post(f"/jobs/{job_id}/retry", key=key)
        assert (status, problem["detail"]) == (409, f"The unfinished job {again} retries this one already.")
    await processor.say(again, "signals/go")
    job = await processor.finished(again)
    assert (job["status"], step_of(job, "a")["reused"]) == ("COMPLETED", True)
    assert (await processor.post(f"/jobs/{again}/retry"))[0] == 409
    assert await _retried(processor, job_id, key="k") == again
    at_once = await asyncio.gather(*(_retried_or_told(processor, job_id) for _ in range(4)))
    assert len({*at_once}) == 1
    assert at_once[0] != again


async def test_a_retry_does_not_go_on_with_what_is_not_there_any_more(
    open_processor: OpenProcessor, tmp_path: Path
) -> None:
    notes, there = tmp_path / "notes", tmp_path / "there"
    async with open_processor(obedient=True) as processor:
        blob = await processor.store(b"")
        steps = {
            "a": _work(blob, f"large {2 * INLINE_BYTES}", notes, "a"),
            "b": _work(blob, f"unless {there}", notes, "${{ steps.a.output.size }}", depends=["a"]),
        }
        job_id = await processor.flow(steps)
        job = await processor.finished(job_id)
        await processor.parts.blobs.delete(step_of(job, "a")["output"]["blob"])
        there.touch()
        job = await processor.finished(await _retried(processor, job_id))
        assert job["status"] == "COMPLETED"
        assert notes.read_text().split() == ["a", "65536", "a", "65536"]


async def test_a_job_whose_output_was_deleted_fails_and_says_so(open_processor: OpenProcessor) -> None:
    """It was taken again every second, for ever."""
    async with open_processor(obedient=True, claim_poll_seconds=0.1) as processor:
        blob = await processor.store(b"")
        large = {"uses": "csv-profile", "with": {"blob": blob, "options": {"do": f"large {2 * INLINE_BYTES}"}}}
        steps = {
            "a": large,
            "wait": {"wait": {"signal": "go"}, "depends": ["a"]},
            "b": {"uses": "noop", "depends": ["wait"], "with": {"size": "${{ steps.a.output.size }}"}},
        }
        job_id = await processor.flow(steps)
        await processor.watch.became(job_id, "wait", "WAITING")
        async with asyncio.timeout(30):
            while await processor.parts.pool.fetchval("SELECT worker FROM processor.queue"):
                await asyncio.sleep(0.05)
        await processor.parts.blobs.delete(step_of(await processor.job(job_id), "a")["output"]["blob"])
        await processor.say(job_id, "signals/go")
        assert (await processor.finished(job_id))["error"]["code"] == "output_missing"


async def test_all_that_match_are_retried_once(open_processor: OpenProcessor, tmp_path: Path) -> None:
    there = tmp_path / "there"
    async with open_processor(obedient=True) as processor:
        blob = await processor.store(b"")
        options = {"do": f"unless {there}"}
        failing = {"a": {"uses": "csv-profile", "with": {"blob": blob, "options": options}}}
        await processor.publish({"name": "w", "steps": failing})
        await processor.publish({"name": "v", "steps": {"sub": {"workflow": "w"}}})
        failed = [await processor.start("w") for _ in range(5)] + [await processor.start("v")]
        cancelled = await processor.start("w", start_at="2100-01-01T00:00:00Z")
        await processor.say(cancelled, "cancel")
        for job_id in [*failed, cancelled]:
            await processor.finished(job_id)
        there.touch()

        status, page = await processor.post("/jobs/retry", {"workflow": "w", "status": "FAILED", "limit": 2})
        assert (status, [job["retry_of"] for job in page["items"]]) == (202, [str(job_id) for job_id in failed[:2]])
        wish = {"workflow": "w", "status": "FAILED"}
        at_once = await asyncio.gather(*(processor.post("/jobs/retry", wish) for _ in range(4)))
        retried = {job["id"]: job["retry_of"] for _, answer in at_once for job in answer["items"]}
        assert sorted(retried.values()) == [str(job_id) for job_id in failed[2:5]]
        for job_id in retried:
            assert (await processor.finished(UUID(job_id)))["status"] == "COMPLETED"
        assert (await processor.post("/jobs/retry", wish))[1]["items"] == []
        for everything in ({}, {"limit": 5}, {"status": None}):
            status, problem = await processor.post("/jobs/retry", everything)
            assert (status, problem["errors"][0]["field"]) == (422, "body")
        ever = {"created_after": "2000-01-01T00:00:00Z"}
        assert (await processor.post("/jobs/retry", ever, principal=STRANGER))[1]["items"] == []
        status, page = await processor.post("/jobs/retry", ever)
        assert {job["retry_of"] for job in page["items"]} == {str(failed[5]), str(cancelled)}


async def test_beyond_the_quota_no_job_is_started_but_those_that_were_started_are_told(
    open_processor: OpenProcessor,
) -> None:
    async with open_processor(quota_open_jobs=2) as processor:
        await processor.publish({"name": "w", "steps": {"a": {"wait": {"signal": "go"}}}})
        first = await processor.start("w", key="k")
        await processor.start("w")
        status, problem = await processor.post("/jobs", {"workflow": "w"})
        assert (status, problem["code"]) == (429, "quota_exceeded")
        assert await processor.start("w", key="k") == first
        await processor.say(first, "cancel")
        await processor.finished(first)
        assert (await processor.post("/jobs", {"workflow": "w"}, principal=WRITER))[0] == 202
        assert (await processor.post(f"/jobs/{first}/retry"))[0] == 429
