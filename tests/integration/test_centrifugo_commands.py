"""The Centrifugo protocol, line by line: what SDKs rely on, and what they never send."""

import json
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from deploy.provision import Database
from events.broker.memory import MemoryBroker
from events.identity import Principal
from fixtures.centrifugo import ENDPOINT, Client, open_client, say
from fixtures.notifier import STRANGER, RunningNotifier, Writer, open_notifier
from fixtures.parts import OpenParts

REJECT_UNRECOVERED = 2
ADA = Principal("acme", "user:ada", frozenset({"jobs:read", "events:read"}))


@pytest_asyncio.fixture
async def epoch(writer: Writer) -> str:
    return str((await writer.log.head()).epoch)


async def test_who_connects_is_told_its_id_and_when_pings_come(notifier: RunningNotifier) -> None:
    ids = set()
    for path in (ENDPOINT, f"/api/v1{ENDPOINT}"):
        async with open_client(notifier, path=path) as (_, told):
            ids.add(UUID(told.pop("client")))
            assert told == {"version": "millrace", "ping": 25, "pong": True}
    assert len(ids) == 2


async def test_a_stream_comes_from_version_0_on_and_then_live(
    notifier: RunningNotifier, writer: Writer, epoch: str
) -> None:
    job_id = await writer.job(450)
    channel = f"job:{job_id}"
    async with open_client(notifier) as (client, _):
        assert await client.subscribe(channel, recover=True) == {
            "epoch": epoch,
            "was_recovering": True,
            "recovered": True,
            "recoverable": True,
            "positioned": True,
        }
        assert await client.offsets(450) == list(range(1, 451))
        await writer.append(job_id)
        pushed_as, publication = await client.publication()
        assert (pushed_as, publication["offset"]) == (channel, 451)
        (event,) = await writer.log.read_stream("acme", channel, 450, 1)
        assert publication["data"] == json.loads(
            json.dumps(
                {
                    "id": str(event.id),
                    "source": "/test",
                    "type": "job.progressed",
                    "subject": channel,
                    "time": event.time.isoformat().replace("+00:00", "Z"),
                    "tenant": "acme",
                    "data": json.loads(bytes(event.data)),
                    "version": 451,
                    "position": event.position,
                }
            )
        )


async def test_without_recovery_a_stream_comes_from_where_it_is(
    notifier: RunningNotifier, writer: Writer, epoch: str
) -> None:
    job_id = await writer.job(7)
    async with open_client(notifier) as (client, _):
        told = await client.subscribe(f"job:{job_id}")
        assert told == {"epoch": epoch, "offset": 7, "recoverable": True, "positioned": True}
        await writer.append(job_id, 2)
        assert await client.offsets(2) == [8, 9]


async def test_the_answers_offset_is_what_the_client_has_and_never_the_head(
    notifier: RunningNotifier, writer: Writer, epoch: str
) -> None:
    job_id = await writer.job(9)
    async with open_client(notifier) as (client, _):
        told = await client.subscribe(f"job:{job_id}", recover=True, offset=4, epoch=epoch)
        assert (told["offset"], told["recovered"]) == (4, True)
        assert await client.offsets(5) == [5, 6, 7, 8, 9]


async def test_who_asks_for_the_latest_only_is_spared_what_came_before(
    notifier: RunningNotifier, writer: Writer
) -> None:
    job_id = await writer.job(450)
    async with open_client(notifier) as (client, _):
        await client.subscribe(f"job:{job_id}", recover=True, data={"conflate": True})
        told = await client.offsets(1)
        while told[-1] < 450:
            told += await client.offsets(1)
        assert told == sorted(told)
        assert len(told) < 10
        await writer.append(job_id)
        assert await client.offsets(1) == [451]


async def test_a_place_that_is_not_of_this_log_is_told_as_unrecovered_and_followed_from_now(
    notifier: RunningNotifier, writer: Writer, epoch: str
) -> None:
    places: list[dict[str, object]] = [{"offset": 1, "epoch": str(uuid4())}, {"offset": 4}, {"offset": 0, "epoch": "_"}]
    for place in places:
        channel = f"job:{(job_id := await writer.job(3))}"
        async with open_client(notifier) as (client, _):
            told = await client.subscribe(channel, recover=True, **place)
            assert told["was_recovering"]
            assert "recovered" not in told
            assert (told["offset"], told["epoch"]) == (3, epoch)
            await writer.append(job_id)
            assert await client.offsets(1) == [4]
            assert (await client.ask(unsubscribe={"channel": channel})) == {"unsubscribe": {}}
            terms = {"channel": channel, "recover": True, "flag": REJECT_UNRECOVERED, "epoch": "_"}
            assert await client.refused(subscribe=terms) == 112
            assert await client.is_silent()


async def test_whole_categories_and_the_whole_log_are_followed_by_position(
    notifier: RunningNotifier, writer: Writer
) -> None:
    one, two = await writer.job(2), await writer.job(2)
    upload = f"upload:{uuid4()}"
    await say(writer, upload, "upload.completed")
    await writer.job(1, tenant=STRANGER.tenant)
    async with open_client(notifier, ADA) as (client, _):
        await client.subscribe("job:*", recover=True)
        heard = [await client.publication() for _ in range(4)]
        assert [(channel, pub["data"]["subject"]) for channel, pub in heard] == [
            *[("job:*", f"job:{one}")] * 2,
            *[("job:*", f"job:{two}")] * 2,
        ]
        assert [pub["offset"] for _, pub in heard] == [1, 2, 3, 4]
        await client.subscribe("tenant:acme", recover=True, offset=2)
        heard = [await client.publication() for _ in range(3)]
        assert [(channel, pub["offset"]) for channel, pub in heard] == [("tenant:acme", place) for place in (3, 4, 5)]
        await writer.append(one)
        heard = [await client.publication() for _ in range(2)]
        assert {(channel, pub["offset"]) for channel, pub in heard} == {("job:*", 7), ("tenant:acme", 7)}


async def test_what_is_unsubscribed_is_not_heard_of_any_more(notifier: RunningNotifier, writer: Writer) -> None:
    job_id, kept = await writer.job(1), await writer.job(1)
    async with open_client(notifier) as (client, _):
        for each in (job_id, kept):
            await client.subscribe(f"job:{each}")
        await client.ask(unsubscribe={"channel": f"job:{job_id}"})
        await writer.append(job_id)
        await writer.append(kept)
        assert (await client.publication())[0] == f"job:{kept}"
        assert await client.is_silent()
        assert (await client.subscribe(f"job:{job_id}"))["offset"] == 2


async def test_commands_in_one_message_are_answered_in_their_order(notifier: RunningNotifier, writer: Writer) -> None:
    one, two = await writer.job(1), await writer.job(1)
    async with open_client(notifier) as (client, _):
        wishes = [{"subscribe": {"channel": f"job:{each}"}} for each in (one, two, uuid4())]
        ids = await client.send(*wishes)
        replies = [await client.next() for _ in ids]
        assert [reply["id"] for reply in replies] == ids
        assert ["error" in reply for reply in replies] == [False, False, True]


async def test_channels_that_there_are_not_and_those_of_others_are_refused(
    notifier: RunningNotifier, writer: Writer
) -> None:
    foreign = await writer.job(1, tenant=STRANGER.tenant)
    async with open_client(notifier, ADA) as (client, _):
        for channel, number in {
            f"job:{foreign}": 102,
            f"job:{uuid4()}": 102,
            "jobs": 102,
            "": 102,
            f"auction:{uuid4()}": 103,
            "meeting:*": 103,
            "tenant:evil": 103,
            "user:bob": 103,
        }.items():
            for wish in ("subscribe", "history"):
                assert await client.refused(**{wish: {"channel": channel}}) == number, (wish, channel)
            assert await client.refused(rpc={"method": "snapshot", "data": {"channel": channel}}) == number


async def test_a_ticket_for_some_channels_is_good_for_no_others(notifier: RunningNotifier, writer: Writer) -> None:
    named, other = await writer.job(1), await writer.job(1)
    bound = replace(ADA, channels=frozenset({f"job:{named}"}))
    async with open_client(notifier, bound) as (client, told):
        assert "subs" not in told
        assert (await client.subscribe(f"job:{named}"))["offset"] == 1
        for channel in (f"job:{other}", "job:*", "tenant:acme", "user:ada"):
            assert await client.refused(subscribe={"channel": channel}) == 103


async def test_a_channel_is_subscribed_once_and_not_more_of_them_than_allowed(
    notifier: RunningNotifier, writer: Writer
) -> None:
    jobs = [await writer.job(1) for _ in range(4)]
    async with open_client(notifier) as (client, _):
        for job_id in jobs[:3]:
            await client.subscribe(f"job:{job_id}")
        assert await client.refused(subscribe={"channel": f"job:{jobs[0]}"}) == 105
        assert await client.refused(subscribe={"channel": f"job:{jobs[3]}"}) == 106
        await client.ask(unsubscribe={"channel": f"job:{jobs[0]}"})
        assert (await client.subscribe(f"job:{jobs[3]}"))["offset"] == 1


async def test_what_no_client_may_and_what_is_not_there_is_refused(notifier: RunningNotifier, writer: Writer) -> None:
    channel = f"job:{await writer.job(1)}"
    async with open_client(notifier) as (client, _):
        assert await client.refused(publish={"channel": channel, "data": {}}) == 103
        assert await client.refused(subscribe={"channel": channel, "type": 1}) == 108
        assert await client.refused(subscribe={"channel": channel, "tf": {"op": "and"}}) == 108
        assert await client.refused(history={"channel": "job:*", "limit": 1, "reverse": True}) == 108
        assert await client.refused(rpc={"method": "launch", "data": {}}) == 104
        assert await client.refused(rpc={"method": "snapshot", "data": 7}) == 107
        assert await client.refused(rpc={"method": "snapshot", "data": {"channel": {}}}) == 107
        assert await client.refused(rpc={"method": "snapshot", "data": {"channel": "job:*"}}) == 107
        assert await client.refused(dance={}) == 104
        assert await client.refused(sub_refresh={"channel": channel, "token": "x"}) == 103
        await client.subscribe(channel)
        assert await client.ask(sub_refresh={"channel": channel, "token": "x"}) == {"sub_refresh": {}}
        await client.raw.send('{"send":{"data":{}}}')
        assert await client.is_silent()


async def test_history_is_read_in_pages_both_ways(notifier: RunningNotifier, writer: Writer, epoch: str) -> None:
    channel = f"job:{await writer.job(5)}"
    async with open_client(notifier) as (client, _):

        async def page(**terms: object) -> list[int]:
            answer = (await client.ask(history={"channel": channel, **terms}))["history"]
            assert (answer["epoch"], answer["offset"]) == (epoch, 5)
            return [each["offset"] for each in answer["publications"]]

        assert await page() == []
        assert await page(limit=2) == [1, 2]
        assert await page(limit=-1) == [1, 2, 3, 4, 5]
        assert await page(limit=2, since={"offset": 3, "epoch": epoch}) == [4, 5]
        assert await page(limit=2, since={"offset": 5}) == []
        assert await page(limit=2, reverse=True) == [5, 4]
        assert await page(limit=2, reverse=True, since={"offset": 3, "epoch": epoch}) == [2, 1]
        assert await page(limit=2, reverse=True, since={"offset": 1}) == []
        for since in ({"offset": 6, "epoch": epoch}, {"offset": 1, "epoch": "_"}):
            assert await client.refused(history={"channel": channel, "limit": 1, "since": since}) == 112
        whole = (await client.ask(history={"channel": "job:*", "limit": 3, "since": {"offset": 1}}))["history"]
        assert [each["offset"] for each in whole["publications"]] == [2, 3, 4]


async def test_a_snapshot_is_the_newest_event_with_the_place_to_follow_on_from(
    notifier: RunningNotifier, writer: Writer, epoch: str
) -> None:
    job_id = await writer.reserve()
    channel = f"job:{job_id}"
    async with open_client(notifier) as (client, _):

        async def snapshot() -> dict[str, object]:
            answer: dict[str, object] = (await client.ask(rpc={"method": "snapshot", "data": {"channel": channel}}))[
                "rpc"
            ]["data"]
            return answer

        assert await snapshot() == {"event": None, "offset": 0, "epoch": epoch}
        await writer.append(job_id, 3)
        newest = await snapshot()
        event = newest.pop("event")
        assert newest == {"offset": 3, "epoch": epoch}
        assert isinstance(event, dict)
        assert (event["version"], event["data"]["progress_percent"]) == (3, 7)


async def test_a_user_follows_what_is_its_own_without_asking(
    notifier: RunningNotifier, writer: Writer, epoch: str
) -> None:
    async with open_client(notifier, ADA) as (client, told):
        assert told["subs"] == {"user:ada": {"epoch": epoch, "recoverable": True, "positioned": True}}
        assert await client.refused(subscribe={"channel": "user:ada"}) == 105
        await say(writer, "user:ada", "booking.confirmed", "booking.changed")
        channel, publication = await client.publication()
        assert (channel, publication["offset"], publication["data"]["type"]) == ("user:ada", 1, "booking.confirmed")
        assert await client.offsets(1) == [2]
    since = {"user:ada": {"recover": True, "offset": 1, "epoch": epoch}, "user:bob": {"recover": True}}
    async with open_client(notifier, ADA, subs=since) as (client, told):
        assert told["subs"]["user:ada"]["recovered"]
        assert list(told["subs"]) == ["user:ada"]
        assert await client.offsets(1) == [2]


async def test_what_the_gateway_notes_of_accounts_is_for_who_operates_the_system(
    notifier: RunningNotifier, writer: Writer
) -> None:
    operator = replace(ADA, subject="key:1", scopes=ADA.scopes | {"ops"})
    await say(writer, "user:ada", "user.locked_out", "booking.confirmed")
    async with open_client(notifier, ADA) as (client, _), open_client(notifier, operator) as (other, _):
        await client.subscribe("tenant:acme", recover=True)
        assert await client.offsets(1) == [2]
        assert [each["offset"] for each in await _events(client, "user:ada")] == [2]
        await other.subscribe("tenant:acme", recover=True)
        assert await other.offsets(2) == [1, 2]
        await say(writer, "user:ada", "user.locked_out", "booking.confirmed")
        assert await other.offsets(2) == [3, 4]
        heard = [await client.publication() for _ in range(2)]
        assert {pub["offset"] for _, pub in heard} == {4}
        assert await client.is_silent()


NESTED = "[" * 20_000


async def test_what_is_not_the_protocol_ends_the_connection_for_good(notifier: RunningNotifier) -> None:
    wrong = ["no json", "[]", '{"id":1}x', '{"subscribe":{}}', '{"id":-1}', '{"id":2,"subscribe":{"channel":7}}']
    nested = [f'{{"id":2,"{name}":{NESTED}' for name in ("ping", "anything")]
    for message in wrong + nested:
        async with open_client(notifier) as (client, _):
            await client.raw.send(message)
            assert await client.closed() == (3501, "bad request"), message[:100]


async def test_connect_comes_first_and_once(notifier: RunningNotifier) -> None:
    async with open_client(notifier) as (client, _):
        await client.send({"connect": {}})
        assert await client.closed() == (3501, "bad request")
    async with notifier.connecting(ENDPOINT) as raw:
        client = Client(raw)
        await client.send({"subscribe": {"channel": "job:*"}})
        assert await client.closed() == (3501, "bad request")


async def test_who_does_not_say_connect_is_sent_away(
    notifier: RunningNotifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifier.dialects.centrifugo.conversation.CONNECT_SECONDS", 0.05)
    async with notifier.connecting(ENDPOINT) as raw:
        assert await Client(raw).closed() == (3502, "stale")


async def test_pings_are_empty_objects_and_want_an_answer(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    often = {"ping_seconds": 0.2, "pong_seconds": 0.1}
    async with open_notifier(database, open_parts_for, MemoryBroker(), **often) as notifier:
        async with open_client(notifier) as (client, _):
            for _ in range(3):
                assert await client.next() == {}
                await client.raw.send("{}")
        async with open_client(notifier) as (client, _):
            code, reason = await client.closed()
            assert (code, reason) == (3004, "No answer to a ping.")


async def test_a_notifier_that_stops_says_so_in_words_that_make_clients_come_again(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    async with AsyncExitStack() as clients:
        async with open_notifier(database, open_parts_for, MemoryBroker()) as notifier:
            client, _ = await clients.enter_async_context(open_client(notifier))
        assert await client.closed() == (3001, "The service restarts. Connect again.")


async def test_a_connection_that_the_gateway_does_not_end_ends_with_its_credential(notifier: RunningNotifier) -> None:
    async with open_client(notifier, replace(ADA, expires_at=int(time.time()) + 3)) as (client, told):
        assert "expires" not in told, "it is not the gateway's to be refreshed"
        assert await client.closed() == (3005, "credential expired")


async def test_binary_messages_are_another_protocol(notifier: RunningNotifier) -> None:
    async with open_client(notifier) as (client, _):
        await client.raw.send(b"\x08\x01")
        assert await client.closed() == (3501, "Commands are text.")


async def _events(client: Client, channel: str) -> list[dict[str, object]]:
    answer = await client.ask(history={"channel": channel, "limit": -1})
    published: list[dict[str, object]] = answer["history"]["publications"]
    return published
