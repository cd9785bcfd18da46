"""What a client can ask for on an open socket."""

import asyncio
from uuid import uuid4

import pytest
from websockets.exceptions import InvalidStatus

from fixtures.notifier import STRANGER, RunningNotifier, Writer


async def test_a_socket_on_all_jobs_hears_every_job_of_its_tenant_and_no_other(
    notifier: RunningNotifier, writer: Writer
) -> None:
    async with notifier.open("/ws") as ours, notifier.open("/ws", STRANGER) as theirs:
        mine, foreign = await writer.job(2), await writer.job(1, tenant=STRANGER.tenant)
        assert [frame["job_id"] for frame in await ours.take(2)] == [mine, mine]
        assert [frame["job_id"] for frame in await theirs.take(1)] == [foreign]
        assert await ours.is_silent()
        assert await theirs.is_silent()


async def test_all_jobs_are_the_channel_of_their_category_and_nothing_else_is_read_for_them(
    notifier: RunningNotifier, writer: Writer
) -> None:
    """It was the tenant's whole log, of which everything else was read and left out again for each socket."""
    job_id = await writer.job(2)
    for _ in range(3):
        await writer.note()
    await notifier.until_told(writer)
    async with notifier.open("/ws?after=0") as socket:
        assert socket.greeting["channel"] == "job:*"
        assert [frame["job_id"] for frame in await socket.take(2)] == [job_id, job_id]
        await writer.note()
        await writer.append(job_id)
        assert await socket.versions(1) == [3]
        assert await socket.is_silent()
    assert (await notifier.metrics())["millrace_notifier_catch_up_events_total"] == 2


async def test_the_first_job_that_is_named_narrows_the_socket_to_named_jobs(
    notifier: RunningNotifier, writer: Writer
) -> None:
    named, other = await writer.job(2), await writer.job(1)
    await notifier.until_told(writer)
    async with notifier.open("/ws") as socket:
        assert await socket.ask(action="subscribe", job_id=named) == {
            "type": "subscribed",
            "job_id": named,
            "after": 0,
        }
        assert await socket.versions(2) == [1, 2]
        await writer.append(other)
        await writer.append(named)
        frame = await socket.next()
        assert (frame["job_id"], frame["version"]) == (named, 3)
        assert await socket.is_silent()


async def test_jobs_can_be_named_with_a_cursor_each(notifier: RunningNotifier, writer: Writer) -> None:
    one, two = await writer.job(5), await writer.job(5)
    await notifier.until_told(writer)
    epoch = (await writer.log.head()).epoch
    async with notifier.open("/ws") as socket:
        assert (await socket.ask(action="subscribe", job_id=one, after=3))["after"] == 3
        assert await socket.versions(2) == [4, 5]
        assert (await socket.ask(action="subscribe", job_id=two, after=f"{epoch}.4"))["after"] == 4
        assert await socket.versions(1) == [5]


async def test_a_job_that_is_unsubscribed_is_not_heard_of_any_more(notifier: RunningNotifier, writer: Writer) -> None:
    left, kept = await writer.job(1), await writer.job(1)
    await notifier.until_told(writer)
    async with notifier.open("/ws") as socket:
        for job_id in (left, kept):
            await socket.ask(action="subscribe", job_id=job_id)
            assert await socket.versions(1) == [1]
        assert await socket.ask(action="unsubscribe", job_id=left) == {"type": "unsubscribed", "job_id": left}
        await writer.append(left)
        await writer.append(kept)
        assert (await socket.next())["job_id"] == kept
        assert await socket.is_silent()


async def test_a_socket_of_one_job_can_take_more(notifier: RunningNotifier, writer: Writer) -> None:
    first, second = await writer.job(1), await writer.job(1)
    async with notifier.open(f"/ws/{first}") as socket:
        assert await socket.versions(1) == [1]
        await socket.ask(action="subscribe", job_id=second)
        assert (await socket.next())["job_id"] == second


async def test_what_cannot_be_done_is_answered_and_the_socket_lives_on(
    notifier: RunningNotifier, writer: Writer
) -> None:
    job_id, unknown = await writer.job(1), str(uuid4())
    async with notifier.open(f"/ws/{job_id}") as socket:
        await socket.next()
        for command, code in (
            ({"action": "subscribe", "job_id": unknown}, "not_found"),
            ({"action": "subscribe", "job_id": job_id}, "already_subscribed"),
            ({"action": "unsubscribe", "job_id": unknown}, "not_subscribed"),
            ({"action": "subscribe", "job_id": unknown, "after": "x"}, "invalid_input"),
            ({"action": "subscribe", "job_id": unknown, "after": -1}, "invalid_input"),
            ({"action": "subscribe", "job_id": unknown, "after": f"{uuid4()}.1"}, "cursor_expired"),
            ({"action": "subscribe", "job_id": "7"}, "invalid_input"),
            ({"action": "subscribe"}, "invalid_input"),
            ({"action": "fly"}, "invalid_input"),
            ({"action": 7}, "invalid_input"),
            ({}, "invalid_input"),
        ):
            answer = await socket.ask(**command)
            assert (answer["type"], answer["code"]) == ("error", code)
        for text in ("", "[]", "null", "7", "{", '{"action":"ping"}}', "\x00", "[" * 5000):
            await socket.raw.send(text)
            answer = await socket.next()
            assert (answer["type"], answer["code"]) == ("error", "invalid_input")
        assert await socket.is_silent()


@pytest.mark.parametrize("head", ['{"x":', '{"action":"subscribe","x":', '{"action":"subscribe","job_id":'])
async def test_a_command_that_is_nested_deeper_than_can_be_read_is_answered(
    notifier: RunningNotifier, head: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was taken for a fault of ours: it wrote a traceback into the log and closed the socket, as often as a client
    liked."""
    async with notifier.open("/ws") as socket:
        for opening in ("[", '{"a":'):
            await socket.raw.send(head + opening * 10_000)
            answer = await socket.next()
            assert (answer["type"], answer["code"]) == ("error", "invalid_input")
        assert await socket.is_silent()
    assert "connection failed" not in capsys.readouterr().out


async def test_a_refused_subscription_does_not_narrow_the_socket(notifier: RunningNotifier, writer: Writer) -> None:
    async with notifier.open("/ws") as socket:
        assert (await socket.ask(action="subscribe", job_id=str(uuid4())))["code"] == "not_found"
        job_id = await writer.job(1)
        assert (await socket.next())["job_id"] == job_id


async def test_a_cursor_beyond_the_jobs_last_event_is_refused(notifier: RunningNotifier, writer: Writer) -> None:
    job_id = await writer.job(2)
    await notifier.until_told(writer)
    async with notifier.open("/ws") as socket:
        assert (await socket.ask(action="subscribe", job_id=job_id, after=3))["code"] == "cursor_expired"


async def test_a_socket_takes_no_more_jobs_than_its_limit(notifier: RunningNotifier, writer: Writer) -> None:
    jobs = [await writer.reserve() for _ in range(4)]
    async with notifier.open("/ws") as socket:
        answers = [await socket.ask(action="subscribe", job_id=job_id) for job_id in jobs]
    assert [answer["type"] for answer in answers] == ["subscribed"] * 3 + ["error"]
    assert answers[-1]["code"] == "too_many_subscriptions"


async def test_commands_are_obeyed_in_their_order(notifier: RunningNotifier, writer: Writer) -> None:
    job_id = await writer.reserve()
    async with notifier.open("/ws") as socket:
        commands = [f'{{"action":"{action}","job_id":"{job_id}"}}' for action in ("subscribe", "unsubscribe") * 10]
        await asyncio.gather(*(socket.raw.send(command) for command in commands))
        answers = [frame["type"] for frame in await socket.take(20)]
        assert answers == ["subscribed", "unsubscribed"] * 10


async def test_who_asks_for_it_is_told_only_the_latest_progress_of_what_is_due(
    notifier: RunningNotifier, writer: Writer
) -> None:
    job_id, other = await writer.job(50), await writer.job(20)
    await notifier.until_told(writer)
    async with notifier.open(f"/ws/{job_id}?conflate=true") as of_one, notifier.open("/ws") as of_named:
        assert await of_one.versions(1) == [50]
        assert await of_one.is_silent()
        answer = await of_named.ask(action="subscribe", job_id=other, conflate=True)
        assert answer["type"] == "subscribed"
        assert await of_named.versions(1) == [20]
        assert await of_named.is_silent()
    with pytest.raises(InvalidStatus) as refused:
        async with notifier.open(f"/ws/{job_id}?conflate=perhaps"):
            pass
    assert (refused.value.response.status_code, b"query.conflate" in refused.value.response.body) == (422, True)
