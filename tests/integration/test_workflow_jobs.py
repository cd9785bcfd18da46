"""Jobs of many steps, from their start to their result, through the API of a whole processor."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from events.envelope import utc_now
from events.ids import new_id
from fixtures.processor import STRANGER, OpenProcessor, Processor, step_of, stored_upload
from processor.results import INLINE_BYTES


async def test_a_job_has_steps_of_every_kind_and_hands_what_they_give_on(processor: Processor) -> None:
    blob = await processor.store(b"name,age\nada,36\nbob,9\n")
    steps: dict[str, Any] = {
        "profile": {"uses": "csv-profile", "with": {"blob": "${{ inputs.blob }}"}},
        "copy": {"uses": "blob.copy", "with": {"blob": "${{ inputs.blob }}", "name": "people.csv"}},
        "rest": {"uses": "sleep", "with": {"seconds": 0.01}, "depends": ["profile"]},
        "each": {
            "uses": "noop",
            "depends": ["profile", "rest"],
            "map": {"items": "${{ steps.profile.output.columns }}", "parallel": 1},
            "with": {"column": "${{ item.name }}", "place": "${{ index }}"},
        },
        "say": {"uses": "emit", "depends": ["each"], "with": {"data": {"columns": "${{ len(steps.each.output) }}"}}},
        "sure": {"uses": "approve", "with": {"question": "Really?"}, "depends": ["say"]},
        "never": {"uses": "noop", "when": "steps.profile.output.rows > 2", "depends": ["profile"]},
        "last": {
            "uses": "noop",
            "depends": ["sure", "never", "copy"],
            "with": {"by": "${{ steps.sure.output.by }}", "never": "${{ steps.never.status }}"},
        },
    }
    output = {
        "rows": "${{ steps.profile.output.rows }}",
        "names": "${{ steps.each.output }}",
        "copied": "${{ steps.copy.output.bytes }}",
        "last": "${{ steps.last.output }}",
    }
    job_id = await processor.flow(steps, inputs={"blob": {"type": "string"}}, output=output, given={"blob": blob})
    await processor.watch.became(job_id, "sure", "WAITING")
    await processor.say(job_id, "signals/sure", {"approved": True})

    job = await processor.finished(job_id)
    assert (job["status"], job["error"], job["progress_percent"]) == ("COMPLETED", None, 100)
    assert job["result"] == {
        "rows": 2,
        "names": [{"column": "name", "place": 0}, {"column": "age", "place": 1}],
        "copied": 22,
        "last": {"by": "user:1", "never": "SKIPPED"},
    }
    became = {step["id"]: step["status"] for step in job["steps"]}
    assert became == {name: "SKIPPED" if name == "never" else "COMPLETED" for name in steps}
    assert (step_of(job, "each")["items"], step_of(job, "each")["items_completed"]) == (2, 2)
    (said,) = [event for event in processor.watch.of_job(job_id) if event.type == "job.emitted"]
    assert msgspec.json.decode(said.data)["data"] == {"columns": 2}
    copy = step_of(job, "copy")["output"]["blob"]
    assert await processor.parts.blobs.get(copy) == await processor.parts.blobs.get(blob)
    _, page = await processor.get(f"/jobs/{job_id}/steps/each/items?limit=1&cursor=0")
    assert [(item["id"], item["output"]) for item in page["items"]] == [(1, {"column": "age", "place": 1})]


async def test_what_is_too_large_for_the_log_is_kept_and_read_by_later_steps_and_from_the_job(
    open_processor: OpenProcessor,
) -> None:
    size = 2 * INLINE_BYTES
    async with open_processor(obedient=True, lease_seconds=1, claim_poll_seconds=0.1) as processor:
        blob = await processor.store(b"")
        large = {"uses": "csv-profile", "with": {"blob": blob, "options": {"do": f"large {size}"}}}
        steps = {
            "one": large,
            "many": {**large, "map": {"items": [1, 2]}},
            "wait": {"wait": {"signal": "go"}, "depends": ["one", "many"]},
            "sum": {
                "uses": "noop",
                "depends": ["wait"],
                "with": {"sum": "${{ steps.one.output.size + steps.many.output[1].size }}"},
            },
            "all": {"uses": "noop", "depends": ["wait"], "with": {"all": "${{ steps.many.output }}"}},
        }
        output = {"sum": "${{ steps.sum.output.sum }}", "all": "${{ steps.all.output.all }}"}
        job_id = await processor.flow(steps, output=output)
        await processor.watch.became(job_id, "wait", "WAITING")
        while (await processor.parts.pool.fetchval("SELECT worker FROM processor.queue")) is not None:
            await asyncio.sleep(0.05)
        await processor.say(job_id, "signals/go")  # whoever goes on has only read of it
        job = await processor.finished(job_id)
        assert job["result"]["sum"] == 2 * size
        assert [one["size"] for one in job["result"]["all"]] == [size, size]
        assert max(len(event.data) for event in processor.watch.of_job(job_id)) < INLINE_BYTES


async def test_a_step_that_gives_what_looks_like_a_reference_gets_nobody_anybodys_blob(processor: Processor) -> None:
    """A result that is kept as a blob is told as `{"blob": …, "bytes": …}`. Any step that gave something of that form
    made whoever read the job get the blob, whoseever it was."""
    secret = "results/other/secret.json"
    await processor.parts.blobs.put(secret, b'"secret"')
    for blob in (secret, "results/acme/../other/secret.json", await processor.store(b"no JSON")):
        job = await processor.outcome({"a": {"uses": "noop", "with": {"blob": blob, "bytes": 8}}})
        assert job["result"] == {"blob": blob, "bytes": 8}
    copied = await processor.store(b"no JSON")
    job = await processor.outcome({"a": {"uses": "blob.copy", "with": {"blob": copied, "name": "a"}}})
    assert job["result"]["bytes"] == 7


async def test_jobs_wait_for_what_they_say(open_processor: OpenProcessor) -> None:
    async with open_processor(obedient=True, workers=1) as processor:
        blob = await processor.store(b"hang 1")
        child = {"name": "child", "steps": {"s": {"wait": {"signal": "never"}}}}
        await processor.publish(child)
        steps: dict[str, Any] = {
            "timer": {"wait": {"timer": "1h"}},
            "until": {"wait": {"until": "2100-01-01T00:00:00Z"}},
            "signal": {"wait": {"signal": "go"}, "timeout": "1d"},
            "approval": {"wait": {"approval": "Now?"}, "map": {"items": [1]}},
            "other": {"workflow": "child"},
            "retry": {
                "uses": "csv-profile",
                "with": {"blob": blob, "options": {"do": "refuse"}},
                "retry": {"max": 1, "backoff": "1h"},
            },
        }
        job_id = await processor.flow(steps)
        await processor.watch.became(job_id, "retry", "RETRYING")
        job = await processor.job(job_id)
        waits = {one["step"]: one for one in job["waits_for"]}
        assert {name: one["kind"] for name, one in waits.items()} == {
            "timer": "time",
            "until": "time",
            "signal": "signal",
            "approval": "approval",
            "other": "job",
            "retry": "retry",
        }
        assert waits["until"]["until"] == "2100-01-01T00:00:00Z"
        assert waits["signal"]["signal"] == "go"
        assert (waits["approval"]["signal"], waits["approval"]["detail"]) == ("approval.0", "Now?")
        assert step_of(job, "other")["child"] in waits["other"]["detail"]
        assert (job["status"], job["sub_status"]) == ("PROCESSING", "waiting")

        await processor.say(job_id, "pause")
        await processor.watch.until(job_id, "job.paused")
        job = await processor.job(job_id)
        assert [one["kind"] for one in job["waits_for"]] == ["resume"]
        assert job["sub_status"] == "paused"


async def test_jobs_that_have_not_begun_say_why_and_how_many_come_before_them(open_processor: OpenProcessor) -> None:
    async with open_processor(obedient=True, workers=1) as processor:
        document = {
            "name": "one",
            "inputs": {"key": {"type": "string"}},
            "steps": {"s": {"wait": {"signal": "go"}}},
            "concurrency": {"limit": 2, "key": "inputs.key", "limit_per_key": 1},
        }
        await processor.publish(document)
        first = await processor.start("one", input={"key": "a"})
        await processor.watch.until(first, "job.started")
        same_key = [await processor.start("one", input={"key": "a"}) for _ in range(2)]
        second = await processor.start("one", input={"key": "b"})
        await processor.watch.until(second, "job.started")
        third = await processor.start("one", input={"key": "c"})
        later = await processor.start("one", input={"key": "d"}, start_at="2100-01-01T00:00:00Z")

        async def waits(job_id: UUID, kind: str) -> dict[str, Any]:
            async with asyncio.timeout(30):
                while True:
                    found = (await processor.job(job_id))["waits_for"]
                    if found and found[0]["kind"] == kind:
                        return dict(found[0])
                    await asyncio.sleep(0.05)

        assert "key a" in (await waits(same_key[1], "limit"))["detail"]
        assert [(await waits(job_id, "limit"))["jobs_before"] for job_id in same_key] == [0, 1]
        assert "2 jobs of this workflow" in (await waits(third, "limit"))["detail"]
        assert (await waits(later, "time"))["until"] == "2100-01-01T00:00:00Z"

        await processor.say(third, "pause")
        await waits(third, "resume")
        await processor.say(third, "resume")
        await waits(third, "limit")

        busy = [await processor.begin(b"hang 1") for _ in range(2)]
        await processor.watch.until(busy[0], "job.progressed")
        after = [await processor.begin(b"hang 1") for _ in range(3)]
        assert [(await waits(job_id, "worker"))["jobs_before"] for job_id in after] == [0, 1, 2]


async def test_statistics_count_jobs_and_say_how_long_they_waited_and_ran(processor: Processor) -> None:
    good = {"name": "good", "steps": {"a": {"uses": "sleep", "with": {"seconds": 0.05}}}}
    bad = {"name": "bad", "steps": {"a": {"uses": "noop", "with": {"a": "${{ 1 / inputs.n }}"}}}}
    await processor.publish(good)
    await processor.publish({**bad, "inputs": {"n": {"type": "integer"}}})
    for job_id in [await processor.start("good") for _ in range(3)] + [await processor.start("bad", input={"n": 0})]:
        await processor.finished(job_id)
    waiting = await processor.start("good", start_at="2100-01-01T00:00:00Z")

    _, page = await processor.get("/jobs/statistics")
    found = {one["id"]: one for one in page["items"]}
    assert [(found[name]["completed"], found[name]["failed"], found[name]["pending"]) for name in ("good", "bad")] == [
        (3, 0, 1),
        (0, 1, 0),
    ]
    assert 0.05 <= found["good"]["run_seconds"]["p50"] <= found["good"]["run_seconds"]["p99"] < 30
    assert 0 <= found["good"]["wait_seconds"]["p50"] < 30
    assert found["good"]["oldest_pending_at"] == (await processor.job(waiting))["created_at"]
    _, page = await processor.get("/jobs/statistics?workflow=bad")
    assert [one["id"] for one in page["items"]] == ["bad"]
    _, page = await processor.get("/jobs/statistics", principal=STRANGER)
    assert page["items"] == []
    tomorrow = (utc_now() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (await processor.get(f"/jobs/statistics?since={tomorrow}"))[1]["items"] == []


_KEYED = {"name": "keyed", "inputs": {"n": {"type": "integer", "default": 1}}, "steps": {"a": {"uses": "noop"}}}


async def test_the_same_key_and_body_give_the_first_answer_and_another_body_is_refused(processor: Processor) -> None:
    await processor.publish(_KEYED)
    first = await processor.start("keyed", input={"n": 2}, key="k")
    assert await processor.start("keyed", input={"n": 2}, key="k") == first
    assert await processor.start("keyed", input={"n": 2}, key="other") != first
    for other in ({"input": {"n": 3}}, {"input": {"n": 2}, "priority": 1}, {"input": {"n": 2}, "version": 2}, {}):
        status, problem = await processor.post("/jobs", {"workflow": "keyed", **other}, key="k")
        assert (status, problem["code"]) == (422, "idempotency_key_reused")
    assert await processor.start("csv-profile", input={"blob": "b"}, key="c") != first
    assert (await processor.post("/jobs", {"workflow": "csv-profile"}, key="k"))[0] == 422
    assert (await processor.post("/workflows/keyed/jobs", {"input": {"n": 2}}, key="k"))[1]["id"] == str(first)

    await processor.publish({**_KEYED, "inputs": {"m": {"type": "integer"}}})
    assert await processor.start("keyed", input={"n": 2}, key="k") == first, "it is judged by what held then"
    await processor.delete("/workflows/keyed")
    assert await processor.start("keyed", input={"n": 2}, key="k") == first
    await processor.publish(_KEYED, principal=STRANGER)
    assert await processor.start("keyed", input={"n": 2}, key="k", principal=STRANGER) != first


async def test_of_requests_with_one_key_that_come_at_once_one_starts_a_job(open_processor: OpenProcessor) -> None:
    async with open_processor() as one, open_processor(one.broker) as other:
        await one.publish(_KEYED)
        jobs = await asyncio.gather(
            *(part.start("keyed", key="k") for _ in range(8) for part in (one, other)),
            *(part.start("keyed", key="l") for _ in range(2) for part in (one, other)),
        )
        assert len(set(jobs[:16])) == len(set(jobs[16:])) == 1
        assert len((await one.get("/jobs"))[1]["items"]) == 2


async def test_no_second_unfinished_job_has_the_same_unique_name(open_processor: OpenProcessor) -> None:
    """With a quota too: looking for a job that had just ended was done within the quota's turn, for ever."""
    async with open_processor(quota_open_jobs=1000, claim_poll_seconds=0.1) as processor:
        await processor.publish({"name": "w", "steps": {"a": {"wait": {"signal": "go"}}}})
        wish = {"workflow": "w", "unique": "only"}
        answers = await asyncio.gather(*(processor.post("/jobs", wish) for _ in range(6)))
        assert sorted(status for status, _ in answers) == [200] * 5 + [202]
        (job_id,) = {UUID(job["id"]) for _, job in answers}
        assert await processor.start("w", unique="another") != job_id
        await processor.publish({"name": "v", "steps": {"a": {"uses": "noop"}}})
        assert await processor.start("v", unique="only") != job_id

        await processor.say(job_id, "cancel")
        await processor.finished(job_id)
        assert await processor.start("w", unique="only") != job_id
        status, problem = await processor.post(f"/jobs/{job_id}/retry")
        assert (status, problem["code"]) == (409, "conflict")


async def test_a_tenants_jobs_begin_by_priority_and_then_in_their_order(processor: Processor) -> None:
    waits = {"name": "w", "steps": {"a": {"wait": {"signal": "go"}}}, "concurrency": {"limit": 1}}
    await processor.publish(waits)
    blocker = await processor.start("w")  # none begins before all are there
    await processor.watch.until(blocker, "job.started")
    wanted = [(0, "a"), (-5, "b"), (100, "c"), (0, "d"), (100, "e"), (5, "f")]
    jobs = {name: await processor.start("w", priority=priority) for priority, name in wanted}
    for job_id in (*jobs.values(), blocker):
        await processor.say(job_id, "signals/go")
    for job_id in jobs.values():
        await processor.finished(job_id)
    began = {
        name: [event.position for event in processor.watch.of_job(job_id) if event.type == "job.started"]
        for name, job_id in jobs.items()
    }
    assert sorted(began, key=lambda name: began[name]) == ["c", "e", "f", "a", "d", "b"]


async def test_a_job_begins_not_before_its_time_whatever_is_said_to_it(processor: Processor) -> None:
    """What was said to a job that had not begun made it begin at once."""
    await processor.publish({"name": "w", "steps": {"a": {"wait": {"signal": "go"}}}})
    at = utc_now() + timedelta(seconds=2)
    job_id = await processor.start("w", start_at=at.isoformat())
    await processor.say(job_id, "signals/go", {"early": True})
    await processor.say(job_id, "pause")
    await processor.watch.until(job_id, "job.paused")
    await processor.say(job_id, "resume")
    job = await processor.finished(job_id)
    started = await processor.watch.until(job_id, "job.started")
    assert started.time >= at
    assert job["result"] == {"early": True}


async def test_an_upload_is_what_a_workflow_takes_of_it(open_processor: OpenProcessor) -> None:
    async with open_processor() as processor:
        document = {
            "name": "w",
            "inputs": {
                "blob": {"type": "string"},
                "filename": {"type": "string"},
                "mine": {"type": "integer", "default": 7},
            },
            "steps": {"a": {"uses": "csv-profile", "with": {"blob": "${{ inputs.blob }}"}}},
            "output": {
                "rows": "${{ steps.a.output.rows }}",
                "of": "${{ inputs.filename }}",
                "mine": "${{ inputs.mine }}",
            },
        }
        await processor.publish(document)
        event, promised = await stored_upload(processor.parts, b"a\n1\n2\n", workflow="w")
        upload_id = event.subject.removeprefix("upload:")
        await processor.tell(event)
        assert (await processor.finished(promised))["result"] == {"rows": 2, "of": "people.csv", "mine": 7}

        job_id = await processor.start("w", upload_id=upload_id, input={"filename": "other.csv"})
        assert (await processor.finished(job_id))["result"] == {"rows": 2, "of": "other.csv", "mine": 7}
        job_id = await processor.start("csv-profile", upload_id=upload_id)
        assert (await processor.finished(job_id))["result"]["rows"] == 2


async def test_nobody_works_on_what_belongs_to_another_tenant(processor: Processor) -> None:
    event, promised = await stored_upload(processor.parts, b"a\n1\n")
    await processor.tell(event)
    job = await processor.finished(promised)
    upload_id, blob = event.subject.removeprefix("upload:"), job["input"]["blob"]

    wish = {"workflow": "csv-profile", "upload_id": upload_id}
    status, problem = await processor.post("/jobs", wish, principal=STRANGER)
    assert (status, problem["errors"][0]["field"]) == (404, "body.upload_id")
    steps = {
        "profile": {"uses": "csv-profile", "with": {"blob": "${{ inputs.blob }}"}, "continue_on_failure": True},
        "copy": {
            "uses": "blob.copy",
            "with": {"blob": "${{ inputs.blob }}", "name": "mine"},
            "continue_on_failure": True,
        },
    }
    await processor.publish({"name": "w", "inputs": {"blob": {}}, "steps": steps}, principal=STRANGER)
    for theirs in (blob, f"uploads/other/../acme/{upload_id}", "/etc/passwd", 5, None, {"a": 1}):
        job_id = await processor.start("w", input={"blob": theirs}, principal=STRANGER)
        ended = await processor.finished(job_id)
        assert {step["status"] for step in ended["steps"]} == {"FAILED"}, theirs
        codes = {step["error"]["code"] for step in ended["steps"]}
        assert codes <= {"input_missing", "blob_missing", "invalid_parameters"}, theirs
    for path in ("", "/events", "/steps/csv-profile/items"):
        assert (await processor.get(f"/jobs/{promised}{path}", principal=STRANGER))[0] == 404
    for what in ("cancel", "pause", "resume", "retry", "signals/x"):
        assert (await processor.post(f"/jobs/{promised}/{what}", principal=STRANGER))[0] == 404


async def test_every_wrong_input_is_named(processor: Processor) -> None:
    inputs = {
        "n": {"type": "integer", "minimum": 1},
        "list": {"type": "array", "items": {"type": "string"}},
        "must": {"type": "string"},
    }
    await processor.publish({"name": "w", "inputs": inputs, "steps": {"a": {"uses": "noop"}}})
    given = {"n": 0, "list": ["a", 5], "mast": "x"}
    status, problem = await processor.post("/jobs", {"workflow": "w", "input": given})
    assert (status, problem["code"]) == (422, "invalid_input")
    assert {error["field"]: error["code"] for error in problem["errors"]} == {
        "body.input.n": "out_of_range",
        "body.input.list[1]": "wrong_type",
        "body.input.mast": "unknown_input",
        "body.input.must": "missing",
    }
    for wish, field in (
        ({"workflow": "w", "priority": 101}, "body.priority"),
        ({"workflow": "W"}, "body.workflow"),
        ({"workflow": "w", "start_at": "2100-01-01T00:00:00"}, "body.start_at"),
        ({"workflow": "w", "upload_id": "1"}, "body.upload_id"),
        ({"workflow": "w", "later": True}, "body.later"),
        ({"workflow": "w", "unique": ""}, "body.unique"),
    ):
        status, problem = await processor.post("/jobs", wish)
        assert (status, [error["field"] for error in problem["errors"]]) == (422, [field])
    unknown: list[tuple[str, dict[str, Any], str]] = [
        ("/jobs", {"workflow": "nothing"}, "body.workflow"),
        ("/jobs", {"workflow": "w", "version": 2}, "body.version"),
        ("/workflows/nothing/jobs", {}, "path.name"),
        ("/workflows/w/jobs", {"version": 2}, "body.version"),
    ]
    for path, body, field in unknown:
        status, problem = await processor.post(path, body)
        assert (status, [error["field"] for error in problem["errors"]]) == (404, [field])
    assert (await processor.post("/jobs", {"workflow": "csv-profile", "upload_id": str(new_id())}))[0] == 404
    assert (await processor.get("/jobs"))[1]["items"] == []


async def test_what_goes_to_every_subscriber_is_small(processor: Processor) -> None:
    await processor.publish({"name": "w", "inputs": {"x": {}}, "steps": {"a": {"wait": {"signal": "s"}}}})
    status, problem = await processor.post("/jobs", {"workflow": "w", "input": {"x": "y" * 300_000}})
    assert (status, problem["errors"][0]["field"]) == (422, "body.input")
    job_id = await processor.start("w", input={"x": "y" * 200_000})
    status, problem = await processor.post(f"/jobs/{job_id}/signals/s", "z" * 100_000)
    assert (status, problem["errors"][0]["code"]) == (422, "too_large")
    emitted = {"a": {"uses": "emit", "with": {"data": {"x": "${{ inputs.x }}"}}}}
    ended = await processor.outcome(emitted, inputs={"x": {}}, given={"x": "y" * 100_000})
    assert ended["error"]["code"] == "too_large"


async def test_a_step_whose_parameters_turn_out_wrong_fails_and_says_which(processor: Processor) -> None:
    """They were only checked as they are written; what expressions make of them crashed the step, three times."""
    steps = {"a": {"uses": "blob.copy", "with": {"blob": "${{ inputs.x }}", "name": "${{ inputs.x }}"}}}
    job = await processor.outcome(steps, inputs={"x": {}}, given={"x": [1]})
    assert (job["error"]["code"], step_of(job, "a")["attempt"]) == ("invalid_parameters", 1)
    assert "with.blob" in job["error"]["detail"]
    assert "with.name" in job["error"]["detail"]


async def test_an_expression_that_can_not_be_evaluated_fails_its_step(processor: Processor) -> None:
    steps = {"a": {"uses": "noop", "with": {"x": "${{ inputs.x.y }}"}}, "b": {"uses": "noop"}}
    job = await processor.outcome(steps, inputs={"x": {}}, given={"x": 5})
    assert (job["status"], job["error"]["code"]) == ("FAILED", "expression_failed")


@pytest.mark.parametrize("count", [0, 1, 300])
async def test_a_map_gives_the_list_of_what_its_items_gave(processor: Processor, count: int) -> None:
    steps = {
        "each": {
            "uses": "noop",
            "map": {"items": "${{ inputs.list }}", "parallel": 7},
            "with": {"n": "${{ item * 2 }}"},
        },
        "after": {"uses": "noop", "depends": ["each"], "with": {"all": "${{ len(steps.each.output) }}"}},
    }
    output = {"all": "${{ steps.each.output }}", "after": "${{ steps.after.output.all }}"}
    job = await processor.outcome(steps, inputs={"list": {}}, output=output, given={"list": [*range(count)]})
    assert job["status"] == "COMPLETED", job["error"]
    assert job["result"] == {"all": [{"n": 2 * n} for n in range(count)], "after": count}
    assert (step_of(job, "each")["items"], step_of(job, "each")["items_completed"]) == (count, count)
    _, page = await processor.get(f"/jobs/{job['id']}/steps/each/items?limit=1000")
    assert [item["id"] for item in page["items"]] == [*range(count)]
    assert (await processor.get(f"/jobs/{job['id']}/steps/after/items"))[1]["items"] == [], "a step, and no map"
    status, problem = await processor.get(f"/jobs/{job['id']}/steps/nope/items")
    assert (status, problem["code"]) == (404, "not_found")


async def test_an_item_that_fails_fails_the_map_unless_it_may(open_processor: OpenProcessor) -> None:
    async with open_processor(obedient=True) as processor:
        blob = await processor.store(b"")
        each: dict[str, Any] = {
            "uses": "csv-profile",
            "map": {"items": ["a", "refuse", "b"], "parallel": 1},
            "with": {"blob": blob, "options": {"do": "${{ item }}"}},
        }
        job = await processor.outcome({"each": each})
        assert (job["status"], job["error"]["code"]) == ("FAILED", "refused")
        _, page = await processor.get(f"/jobs/{job['id']}/steps/each/items")
        assert [item["status"] for item in page["items"]] == ["COMPLETED", "FAILED"]

        job = await processor.outcome({"each": {**each, "continue_on_failure": True}})
        assert job["status"] == "COMPLETED"
        assert (step_of(job, "each")["items_completed"], step_of(job, "each")["items_failed"]) == (2, 1)


async def test_a_step_is_tried_again_as_its_retry_says(open_processor: OpenProcessor, tmp_path: Any) -> None:
    notes = tmp_path / "notes"
    async with open_processor(obedient=True) as processor:
        blob = await processor.store(b"")

        def refusing(retry: dict[str, Any], name: str) -> dict[str, Any]:
            options = {"do": "refuse", "note": str(notes), "as": name}
            return {"uses": "csv-profile", "with": {"blob": blob, "options": options}, "retry": retry}

        steps = {
            "all": refusing({"max": 2, "backoff": 0.01, "jitter": 0}, "all"),
            "other": refusing({"max": 2, "backoff": 0.01, "on": ["timeout"]}, "other"),
        }
        job = await processor.outcome({name: {**step, "continue_on_failure": True} for name, step in steps.items()})
        assert job["status"] == "COMPLETED"
        assert sorted(notes.read_text().split()) == ["all"] * 3 + ["other"]
        assert (step_of(job, "all")["attempt"], step_of(job, "all")["error"]["code"]) == (3, "refused")


async def test_a_job_that_takes_too_long_fails_wherever_it_is(open_processor: OpenProcessor) -> None:
    async with open_processor(obedient=True, step_grace_seconds=0.1) as processor:
        blob = await processor.store(b"hang 1")
        working = {"a": {"uses": "csv-profile", "with": {"blob": blob}}}
        for steps in (working, {"a": {"wait": {"signal": "never"}}}):
            job = await processor.outcome(steps, timeout=0.5)
            assert (job["status"], job["error"]["code"]) == ("FAILED", "job_timeout")
            assert step_of(job, "a")["status"] == "CANCELLED"


async def test_a_steps_time_begins_when_its_turn_has_come(open_processor: OpenProcessor, tmp_path: Any) -> None:
    """It began with the wait for a free process, so that of many items those at the end were too late."""
    open_ = tmp_path / "open"
    async with open_processor(obedient=True, workers=1) as processor:
        blob = await processor.store(b"")
        options = {"do": f"until {open_}"}
        blocker = {"a": {"uses": "csv-profile", "with": {"blob": blob, "options": options}}}
        blocking = await processor.flow(blocker)
        await processor.watch.until(blocking, "job.progressed")
        waiting = await processor.flow({"a": {"uses": "csv-profile", "with": {"blob": blob}, "timeout": 0.3}})
        await processor.watch.became(waiting, "a", "RUNNING")
        await asyncio.sleep(0.4)  # longer than it may take
        open_.touch()
        assert (await processor.finished(waiting))["status"] == "COMPLETED"


async def test_every_attempt_is_run_once_however_many_end_at_the_same_time(
    open_processor: OpenProcessor, tmp_path: Any
) -> None:
    """An attempt that ended while the end of another one was written to the log was begun a second time."""
    notes = tmp_path / "notes"
    async with open_processor(obedient=True) as processor:
        options = {"do": "ok", "note": str(notes), "as": "${{ index }}"}
        each = {
            "uses": "csv-profile",
            "map": {"items": [*range(60)], "parallel": 20},
            "with": {"blob": await processor.store(b""), "options": options},
        }
        assert (await processor.outcome({"each": each}))["status"] == "COMPLETED"
        assert sorted(map(int, notes.read_text().split())) == [*range(60)]


async def test_a_result_is_told_whole_wherever_its_parts_are_kept(open_processor: OpenProcessor) -> None:
    size = INLINE_BYTES + 1
    async with open_processor(obedient=True) as processor:
        large = {
            "uses": "csv-profile",
            "with": {"blob": await processor.store(b""), "options": {"do": f"large {size}"}},
        }
        job = await processor.outcome({"a": large, "each": {**large, "map": {"items": [1, 2]}}, "b": {"uses": "noop"}})
        assert job["result"]["b"] == {}
        assert [one["size"] for one in (job["result"]["a"], *job["result"]["each"])] == [size] * 3
        (kept,) = [step["output"] for step in job["steps"] if step["id"] == "a"]
        await processor.parts.blobs.delete(kept["blob"])
        job = await processor.job(UUID(job["id"]))
        assert (job["result"]["a"], job["result"]["each"][0]["size"]) == (kept, size)
