"""Another tenant's ids on every route: each answers like an id that nobody has, or with nothing, and changes nothing.

The routes come from the OpenAPI document and from `UPSTREAMS`: one that nobody has thought of fails a test here.
Part of the attack table, see test_attacks.py.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio

from events.ids import new_id
from fixtures.centrifugo import ENDPOINT
from fixtures.centrifugo import Client as CentrifugoClient
from fixtures.client import Client
from fixtures.event_streams import following, sse, with_key
from fixtures.gateway import Gateway
from fixtures.millrace import Document, Run, operations
from fixtures.sockets import answers, connecting, received, refusal
from fixtures.tenants import CSV, JSON, Victim, open_victim, said
from gateway.upstreams import OWN, UPSTREAMS


@pytest_asyncio.fixture(scope="module")
async def victim(millrace: Run) -> AsyncIterator[Victim]:
    async with open_victim(millrace) as victim:
        yield victim


UNKNOWN = {
    "key_id": "A" * 12,
    "stream": f"job:{new_id()}",
    "name": "what-nobody-does",
    "version": "1",
    "step": "csv-profile",
}
NEEDS_A_BODY = {
    "/api/v1/workflows/{name}/jobs": b"{}",
    "/api/v1/schedules/{schedule_id}": b'{"workflow":"csv-profile","input":{"blob":"b"},"cron":"@yearly"}',
}
NEEDS_HEADERS = {
    "/api/v1/files/{file_id}": (
        "Tus-Resumable: 1.0.0",
        "Upload-Offset: 0",
        "Content-Type: application/offset+octet-stream",
    )
}
OWN_NAMES = {("PUT", "/api/v1/workflows/{name}")}  # every tenant may use any: the test is below
# What has no id in its path, but takes some in its body; the tests are below, and where test_attacks.py says.
TAKES_IDS_IN_BODY = {"/api/v1/admin/dead-letters/replay", "/api/v1/auth/tickets", "/api/v1/jobs"}
NAMES_NOBODY = {  # bodies of the sender's own making
    "/api/v1/uploads",
    "/api/v1/clean",
    "/api/v1/files",
    "/api/v1/keys",
    "/api/v1/schedules",
    "/api/v1/jobs/retry",
    "/api/v1/workflows",
    "/api/v1/workflows/validate",
    "/api/v1/recipes/validate",
    "/api/v1/auth/register",
    "/api/v1/auth/login",
    "/api/v1/auth/refresh",
    "/api/v1/auth/logout",
    "/api/v1/auth/invitations",
}
# What the door lets through, and no document tells of.
UNDOCUMENTED = {
    "/api/v1/ws": "below",
    "/ws": "below",
    "/connection": "answers nothing yet",
    "/connection/sse": "the same as /api/v1/connection/sse",
    "/connection/websocket": "below",
    "/api/v1/connection/websocket": "the same",
    "/files": "the same as /api/v1/files",
    "/clean": "the same as /api/v1/clean",
}


async def test_another_tenants_ids_answer_like_unknown_ones_on_every_route_and_change_nothing(
    millrace: Run, door: Gateway, document: Document, victim: Victim
) -> None:
    asked = 0
    for method, path, _ in operations(document):
        if not (names := re.findall("{(.*?)}", path)) or (method, path) in OWN_NAMES or method == "OPTIONS":
            continue
        assert set(names) <= victim.ids.keys(), f"{path} takes an id that the victim has none of"
        foreign, unknown = [
            await not_found(millrace, door, method, path, {name: ids[name] for name in names})
            for ids in (victim.ids, {name: UNKNOWN.get(name, str(new_id())) for name in names})
        ]
        assert foreign == unknown, f"{method} {path}"
        asked += 1
    assert asked >= 9
    content = await door.ask(f"GET /api/v1/uploads/{victim.ids['upload_id']}/content", victim.bearer, key=None)
    assert (content.status, content.body) == (200, CSV)
    path = "/api/v1/jobs/{job_id}/artifacts/{artifact}".format(**victim.ids)
    made = await door.ask(f"GET {path}", victim.bearer, "Range: bytes=1-", key=None)
    assert (made.status, made.body) == (206, CSV[1:])
    there = await door.ask(f"HEAD {path}", victim.bearer, key=None)
    assert (there.status, there.head.get("content-length")) == (200, str(len(CSV)))
    for answer in (made, there):
        assert answer.head.get("content-type") == "text/csv"
        assert "sandbox" in str(answer.head.get("content-security-policy"))
        assert answer.head.all("x-content-type-options") == ["nosniff"]
    assert (await door.ask("GET /api/v1/jobs", key=victim.key)).status == 200
    async with asyncio.timeout(10):
        assert (await received(victim.socket))["type"] == "connected"
        assert await answers(victim.socket)


async def not_found(
    millrace: Run, door: Gateway, method: str, path: str, ids: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """The answer without the id that was asked for, and the names of its headers."""
    body = NEEDS_A_BODY.get(path, b"")
    fields = NEEDS_HEADERS.get(path, ()) + ((JSON,) if body else ())
    answer = await door.ask(f"{method} {path.format(**ids)}", *fields, body=body, key=millrace.admin_key)
    if method == "HEAD":
        assert answer.status == 404, path
        return {}, [name for name, _ in answer.head.fields]
    assert said(answer) == (404, "not_found"), f"{method} {path}"
    text = answer.body.decode()
    for name, id_ in ids.items():
        text = text.replace(id_, name)
    problem = json.loads(text)
    del problem["request_id"]
    return problem, [name for name, _ in answer.head.fields]


async def test_no_list_tells_anything_of_another_tenant(
    millrace: Run, door: Gateway, document: Document, victim: Victim
) -> None:
    """Nor where the list begins: a cursor may be another's id."""
    cursors = [
        victim.ids["upload_id"],
        victim.ids["job_id"],
        victim.ids["key_id"],
        victim.ids["schedule_id"],
        str(victim.dead_letter),
    ]
    for method, path, operation in operations(document):
        if method != "GET" or "{" in path:
            continue
        named = {parameter["name"] for parameter in operation.get("parameters", [])}
        queries = [f"?cursor={cursor}" for cursor in cursors] if "cursor" in named else []
        for query in ("", *queries):
            answer = await door.ask(f"GET {path}{query}", key=millrace.admin_key)
            assert answer.status in (200, 410, 422), path
            text = answer.body.decode().replace(query.removeprefix("?cursor="), "") if query else answer.body.decode()
            assert [trace for trace in victim.traces if trace in text] == [], f"{path}{query}"


async def test_what_is_named_in_a_body_is_considered_too(
    millrace: Run, door: Gateway, document: Document, victim: Victim
) -> None:
    takes_a_body = {path for _, path, operation in operations(document) if "requestBody" in operation}
    assert {path for path in takes_a_body if "{" not in path} == TAKES_IDS_IN_BODY | NAMES_NOBODY
    channels = json.dumps({"channels": [victim.ids["stream"]]}).encode()
    made = json.loads((await door.ask("POST /api/v1/auth/tickets", JSON, body=channels, key=millrace.admin_key)).body)
    status, problem, _ = await refusal(connecting(door, f"/ws/{victim.ids['job_id']}?ticket={made['ticket']}"))
    assert (status, problem["code"]) == (404, "not_found")


async def test_a_job_cannot_be_started_on_another_tenants_upload(millrace: Run, door: Gateway, victim: Victim) -> None:
    answers_ = []
    for upload_id in (victim.ids["upload_id"], str(new_id())):
        wish = json.dumps({"workflow": "csv-profile", "upload_id": upload_id}).encode()
        answers_.append(await door.ask("POST /api/v1/jobs", JSON, body=wish, key=millrace.admin_key))
    assert [said(answer) for answer in answers_] == [(404, "not_found")] * 2


async def test_a_name_that_another_tenant_uses_is_everybodys(millrace: Run, door: Gateway, victim: Victim) -> None:
    name = victim.ids["name"]
    document = json.dumps({"name": name, "steps": {"other": {"uses": "noop"}}}).encode()
    made = await door.ask(f"PUT /api/v1/workflows/{name}", JSON, body=document, key=millrace.admin_key)
    assert (made.status, json.loads(made.body)["version"]) == (201, 1)
    mine = await door.ask(f"GET /api/v1/workflows/{name}", victim.bearer, key=None)
    assert set(json.loads(mine.body)["document"]["steps"]) == {"csv-profile", "keep"}


async def test_every_way_through_the_door_is_considered(millrace: Run, door: Gateway, document: Document) -> None:
    told = set(document["paths"])
    ways = {route.prefix for route in UPSTREAMS if route.service not in (OWN, "authz") and not route.public}
    hidden = {way for way in ways if not any(path == way or path.startswith(f"{way}/") for path in told)}
    assert hidden == set(UNDOCUMENTED)
    for way, why in UNDOCUMENTED.items():
        if why == "answers nothing yet":
            for path in (way, f"{way}/{new_id()}"):
                assert said(await door.ask(f"GET {path}", key=millrace.admin_key)) == (404, "not_found")


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_another_tenants_job_is_no_job_to_a_socket(
    millrace: Run, door: Gateway, victim: Victim, prefix: str
) -> None:
    job_id, unknown = victim.ids["job_id"], str(new_id())
    for query in ("", "?after=1", "?after=1000"):
        refused = []
        for id_ in (job_id, unknown):
            status, problem, _ = await refusal(connecting(door, f"{prefix}/ws/{id_}{query}", key=millrace.admin_key))
            refused.append((status, problem["code"], problem["detail"].replace(id_, "")))
        assert refused[0] == refused[1]
        assert refused[0][:2] == (404, "not_found")
    async with connecting(door, f"{prefix}/ws", key=millrace.admin_key) as socket:
        await received(socket)
        told = []
        for id_ in (job_id, unknown):
            await socket.send(json.dumps({"action": "subscribe", "job_id": id_, "after": 0}))
            told.append({k: str(v).replace(id_, "") for k, v in (await received(socket)).items()})
        assert told[0] == told[1]
        assert (told[0]["type"], told[0]["code"]) == ("error", "not_found")


async def test_another_tenants_streams_are_no_channels_to_server_sent_events(
    millrace: Run, door: Gateway, victim: Victim
) -> None:
    for category in ("job", "upload"):
        told = [
            await unfollowed(millrace, door, f"{category}:{id_}", id_)
            for id_ in (victim.ids[f"{category}_id"], str(new_id()))
        ]
        assert told[0] == told[1]
        assert told[0][:2] == (404, "not_found")
    for category, name in (("tenant", victim.tenant), ("user", victim.user)):
        told = [await unfollowed(millrace, door, f"{category}:{id_}", id_) for id_ in (name, str(new_id()))]
        assert told[0] == told[1]
        assert told[0][:2] == (403, "forbidden")


async def unfollowed(millrace: Run, door: Gateway, channel: str, id_: str) -> tuple[int, str, str]:
    """How a stream of events is refused, from wherever, without what was asked for."""
    told = set()
    for path in (sse(channel), sse(channel, after="0"), sse(channel, after="1000")):
        answer = await door.ask(f"GET {path}", "Accept: text/event-stream", key=millrace.admin_key)
        told.add((*said(answer), json.loads(answer.body)["detail"].replace(id_, "")))
    (same,) = told
    return same


# Of a stream of one's own that may come to be.
NOBODY_IS_THERE = (
    '{"presence": {"presence": {}}}',
    '{"presence_stats": {"num_clients": 0, "num_users": 0}}',
)


async def test_another_tenants_streams_are_no_channels_to_centrifugos_clients(
    millrace: Run, door: Gateway, victim: Victim
) -> None:
    wishes: list[Callable[[str], dict[str, Any]]] = [
        lambda channel: {"subscribe": {"channel": channel}},
        lambda channel: {"subscribe": {"channel": channel, "recover": True, "offset": 1}},
        lambda channel: {"history": {"channel": channel, "limit": 10}},
        lambda channel: {"presence": {"channel": channel}},
        lambda channel: {"presence_stats": {"channel": channel}},
        lambda channel: {"rpc": {"method": "snapshot", "data": {"channel": channel}}},
    ]
    foreign = {"job": victim.ids["job_id"], "upload": victim.ids["upload_id"]}
    async with connecting(door, ENDPOINT) as socket:
        client = CentrifugoClient(socket)
        assert "connect" in await client.ask(connect={"token": millrace.admin_key})
        for wish in wishes:
            for category, name in {**foreign, "tenant": victim.tenant, "user": victim.user}.items():
                told = []
                for id_ in (name, str(new_id())):
                    reply = await client.ask(**wish(f"{category}:{id_}"))
                    told.append(json.dumps(reply).replace(id_, ""))
                assert told[0] == told[1], category
                assert told[0] in NOBODY_IS_THERE or reply["error"]["code"] == (102 if category in foreign else 103)


@pytest.mark.parametrize("channel", ["job:*", "tenant:default"])
async def test_who_follows_everything_is_told_nothing_of_another_tenant(
    millrace: Run, door: Gateway, victim: Victim, channel: str
) -> None:
    """From the beginning of the log, which is the victim's, until a job of the stranger's own has ended."""
    async with Client(millrace.url, millrace.admin_key) as client:
        own = (await client.upload(CSV))["job_id"]
        await client.watch(own)
    async with following(door.host, door.port, sse(channel, after="0"), with_key(millrace.admin_key)) as stream:
        assert traces_in(await heard_of(own, stream.next), victim) == []
    async with connecting(door, ENDPOINT) as socket:
        follower = CentrifugoClient(socket)
        assert "connect" in await follower.ask(connect={"token": millrace.admin_key})
        await follower.subscribe(channel, recover=True, offset=0)
        assert traces_in(await heard_of(own, follower.next), victim) == []


async def heard_of(job_id: str, hear: Callable[[], Awaitable[object]]) -> str:
    """All that is told until this job is done."""
    heard = [""]
    while not (job_id in heard[-1] and "job.completed" in heard[-1]):
        heard.append(str(await hear()))
    return "".join(heard)


def traces_in(heard: str, victim: Victim) -> list[str]:
    return [trace for trace in victim.traces if trace in heard]


async def test_a_socket_on_all_jobs_is_told_nothing_of_another_tenant(
    millrace: Run, door: Gateway, victim: Victim
) -> None:
    """The stranger's own job comes later in the log: what is told before it is all that there is to tell."""
    async with Client(millrace.url, millrace.admin_key) as client:
        own = (await client.upload(CSV))["job_id"]
        await client.watch(own)
    async with connecting(door, "/ws?after=0", key=millrace.admin_key) as socket:
        frame: dict[str, Any] = {}
        while (frame.get("job_id"), frame.get("status")) != (own, "COMPLETED"):
            frame = await received(socket)
            assert [trace for trace in victim.traces if trace in json.dumps(frame)] == []
