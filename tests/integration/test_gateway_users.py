"""People: how they get in, stay in and get out."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from deploy.provision import Database
from events.telemetry import configure_logging
from fixtures.accounts import PASSWORD, logged_in, me, post, problem, register
from fixtures.gateway import KEY, Gateway, Upstream, open_gateway, read_body, read_head
from fixtures.ingest import open_ingest
from fixtures.parts import OpenParts


async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await read_body(reader, await read_head(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest_asyncio.fixture(scope="module")
async def gateway(gateway_database: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    tmp_path = tmp_path_factory.mktemp("gateway")
    configure_logging(tmp_path / "logs" / "gateway.log", "INFO")
    async with Upstream.open(answers) as upstream, open_gateway(gateway_database, tmp_path, upstream.url) as running:
        yield running


@pytest_asyncio.fixture
async def rows(gateway_database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(gateway_database.admin_url)
    yield connection
    await connection.close()


async def events(rows: asyncpg.Connection, kind: str, **said: str) -> list[dict[str, Any]]:
    """What the outbox has of one kind about one thing; nobody takes it to the log here."""
    found = [json.loads(row["event"]) for row in await rows.fetch("SELECT event FROM gateway.outbox ORDER BY event_id")]
    return [each for each in found if each["type"] == kind and said.items() <= each["data"].items()]


async def test_a_person_registers_logs_in_refreshes_and_logs_out(gateway: Gateway, rows: asyncpg.Connection) -> None:
    registered = await register(gateway, "Ada@Example.org", gender="female")
    assert registered.user["email"] == "ada@example.org"
    assert (registered.user["role"], registered.user["gender"]) == ("admin", "female")
    login = logged_in(await post(gateway, "login", email=" ADA@example.ORG ", password=PASSWORD))
    answer = await me(gateway, login.access)
    assert answer.head.get("cache-control") == "private, no-cache"
    who = json.loads(answer.body)
    assert who["user"] == login.user == registered.user
    assert (who["subject"], who["tenant"]) == (f"user:{login.user['id']}", login.user["tenant"])
    assert "keys:admin" in who["scopes"]
    assert "ops" not in who["scopes"], "whoever registers must not see the whole system"
    refreshed = logged_in(await post(gateway, "refresh", refresh_token=login.refresh))
    assert (await me(gateway, refreshed.access)).status == 200
    assert (await post(gateway, "logout", refresh_token=refreshed.refresh)).status == 204
    assert problem(await post(gateway, "refresh", refresh_token=refreshed.refresh))["code"] == "session_over"
    assert (await me(gateway, registered.access)).status == 200, "another session goes on"
    assert (await post(gateway, "logout", refresh_token=refreshed.refresh)).status == 204, "twice is no error"
    [fact] = await events(rows, "user.registered", user_id=login.user["id"])
    assert (fact["tenant"], fact["subject"]) == (login.user["tenant"], f"user:{login.user['id']}")
    assert len(await events(rows, "session.ended", user_id=login.user["id"])) == 1


async def test_two_who_register_get_tenants_of_their_own(gateway: Gateway) -> None:
    one, other = await register(gateway, "one@example.org"), await register(gateway, "other@example.org")
    assert one.user["tenant"] != other.user["tenant"]


async def test_an_address_is_taken_however_it_is_typed(gateway: Gateway) -> None:
    await register(gateway, "taken@example.org")
    wish = {"email": " TAKEN@Example.org", "password": PASSWORD, "display_name": "Eve"}
    refused = problem(await post(gateway, "register", **wish))
    assert (refused["status"], refused["code"]) == (409, "email_taken")
    assert refused["errors"][0]["field"] == "body.email"


async def test_of_those_who_register_one_address_at_once_one_does(gateway: Gateway) -> None:
    wish = {"email": "race@example.org", "password": PASSWORD, "display_name": "Ada"}
    found = await asyncio.gather(*(post(gateway, "register", **wish) for _ in range(5)))
    assert sorted(answer.status for answer in found) == [201, 409, 409, 409, 409]


WRONG = {
    "no address": {"email": "ada"},
    "two at signs": {"email": "a@b@example.org"},
    "a NUL in the address": {"email": "a\0@example.org"},
    "half a character in the address": {"email": "a\ud800@example.org"},
    "a short password": {"password": "123456789"},
    "a long password": {"password": "x" * 257},
    "half a character in the password": {"password": "\ud800" * 12},
    "an empty name": {"display_name": " "},
    "a NUL in the name": {"display_name": "A\0da"},
    "a long name": {"display_name": "x" * 101},
    "an unknown field": {"role": "admin"},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_a_registration_that_is_wrong_is_told_which_field(gateway: Gateway, wrong: dict[str, str]) -> None:
    wish = {"email": "wrong@example.org", "password": PASSWORD, "display_name": "Ada", **wrong}
    answer = await post(gateway, "register", **wish)
    refused = problem(answer)
    assert refused["status"] == 422
    assert [error["field"] for error in refused["errors"]] == [f"body.{name}" for name in wrong]
    assert PASSWORD not in answer.body.decode()


async def test_registration_can_be_closed_but_for_the_invited(gateway_database: Database, tmp_path: Path) -> None:
    async with open_gateway(gateway_database, tmp_path, "http://127.0.0.1:9", open_registration=False) as closed:
        wish = {"email": "stranger@example.org", "password": PASSWORD, "display_name": "Eve"}
        assert problem(await post(closed, "register", **wish))["code"] == "registration_closed"
        made = await post(closed, "invitations", f"X-API-Key: {KEY}", role="viewer")
        guest = await register(closed, "guest@example.org", invitation=json.loads(made.body)["invitation"])
        assert (guest.user["tenant"], guest.user["role"]) == ("default", "viewer")


async def test_wrong_password_unknown_address_and_locked_account_get_one_answer(
    gateway: Gateway, rows: asyncpg.Connection
) -> None:
    user = (await register(gateway, "victim@example.org")).user
    wrong = problem(await post(gateway, "login", email="victim@example.org", password="wrong password"))
    before, strangers = await hashed(gateway), await counted(gateway, STRANGERS)
    unknown = problem(await post(gateway, "login", email="nobody@example.org", password="wrong password"))
    assert await hashed(gateway) == before + 1, "an unknown address costs a hash as well"
    assert await counted(gateway, STRANGERS) == strangers + 1
    assert '"why": "unknown_user"' in gateway.log.read_text()
    assert (wrong["status"], wrong["code"]) == (401, "login_refused")
    assert wrong.keys() == {"type", "title", "status", "detail", "instance", "code"}
    assert wrong == unknown
    await rows.execute("UPDATE gateway.users SET locked_until = now() + interval '1 hour' WHERE id = $1", user["id"])
    before = await hashed(gateway)
    locked = problem(await post(gateway, "login", email="victim@example.org", password=PASSWORD))
    assert await hashed(gateway) == before + 1
    assert locked == wrong


STRANGERS = 'millrace_logins_total{outcome="unknown_user"}'


async def hashed(gateway: Gateway) -> float:
    return await counted(gateway, 'millrace_passwords_hashed_total{outcome="hashed"}')


async def counted(gateway: Gateway, name: str) -> float:
    lines = (await gateway.ask("GET /metrics")).body.decode().splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name)), 0.0)


async def test_an_account_is_locked_after_wrong_passwords_and_longer_each_time(
    gateway: Gateway, rows: asyncpg.Connection
) -> None:
    email = "locked@example.org"
    user = (await register(gateway, email)).user

    async def guess() -> None:
        assert (await post(gateway, "login", email=email, password="wrong password")).status == 401

    async def locked_for() -> int | None:
        sql = "SELECT extract(epoch FROM locked_until - now()) FROM gateway.users WHERE id = $1"
        left = await rows.fetchval(sql, user["id"])
        return None if left is None else round(float(left) / 10) * 10

    async def time_passes() -> None:
        await rows.execute("UPDATE gateway.users SET locked_until = now() WHERE id = $1", user["id"])

    for _ in range(4):
        await guess()
    assert await locked_for() is None
    await guess()
    assert await locked_for() == 30
    await guess()
    assert await locked_for() == 30, "what is tried meanwhile does not count"
    assert (await post(gateway, "login", email=email, password=PASSWORD)).status == 401
    assert len(await events(rows, "user.locked_out", user_id=user["id"])) == 1
    await time_passes()
    await guess()
    assert await locked_for() == 60
    await time_passes()
    await guess()
    assert await locked_for() == 120
    assert len(await events(rows, "user.locked_out", user_id=user["id"])) == 3
    await rows.execute("UPDATE gateway.users SET failures = 1000, locked_until = now() WHERE id = $1", user["id"])
    await guess()
    assert await locked_for() == 3600, "never longer than that"
    await time_passes()
    logged_in(await post(gateway, "login", email=email, password=PASSWORD))
    await guess()
    assert await locked_for() is None, "the right password makes good for the wrong ones"


async def test_many_guesses_at_once_are_no_more_guesses(gateway: Gateway, rows: asyncpg.Connection) -> None:
    user = (await register(gateway, "parallel@example.org")).user
    guesses = (post(gateway, "login", email="parallel@example.org", password=f"guess number {n}") for n in range(12))
    assert {answer.status for answer in await asyncio.gather(*guesses)} == {401}
    assert await rows.fetchval("SELECT failures FROM gateway.users WHERE id = $1", user["id"]) == 5
    assert len(await events(rows, "user.locked_out", user_id=user["id"])) == 1
    assert (await post(gateway, "login", email="parallel@example.org", password=PASSWORD)).status == 401


async def test_an_invitation_lets_one_person_into_the_tenant_with_its_role(
    gateway: Gateway, rows: asyncpg.Connection
) -> None:
    admin = await register(gateway, "host@example.org")
    made = await post(gateway, "invitations", admin.bearer, role="viewer")
    assert (made.status, made.head.get("cache-control")) == (201, "no-store")
    invitation = json.loads(made.body)["invitation"]
    wish = {"email": "host@example.org", "password": PASSWORD, "display_name": "Host", "invitation": invitation}
    assert (await post(gateway, "register", **wish)).status == 409
    viewer = await register(gateway, "viewer@example.org", invitation=invitation)
    assert (viewer.user["tenant"], viewer.user["role"]) == (admin.user["tenant"], "viewer")
    again = problem(await post(gateway, "register", **wish | {"email": "second@example.org"}))
    assert (again["status"], again["code"]) == (422, "invitation_unusable")
    assert again["errors"][0]["field"] == "body.invitation"
    scopes = json.loads((await me(gateway, viewer.access)).body)["scopes"]
    assert scopes == ["auctions:read", "events:read", "jobs:read", "meetings:read", "workflows:read"]
    assert (await post(gateway, "invitations", viewer.bearer, role="viewer")).status == 403
    assert len(await events(rows, "user.invited", invitation_id=json.loads(made.body)["id"])) == 1


async def test_a_viewer_cannot_write_and_a_member_can(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    async with (
        open_ingest(database, open_parts_for, "memory://", tmp_path) as ingest,
        open_gateway(database, tmp_path, ingest.address.url) as gateway,
    ):
        admin = await register(gateway, "host@example.org")
        for role, status in {"viewer": 403, "member": 202}.items():
            made = json.loads((await post(gateway, "invitations", admin.bearer, role=role)).body)
            guest = await register(gateway, f"{role}@example.org", invitation=made["invitation"])
            answer = await gateway.ask("POST /api/v1/uploads", guest.bearer, body=b"a\n1\n", key=None)
            assert answer.status == status


async def test_an_expired_invitation_is_none(gateway: Gateway, rows: asyncpg.Connection) -> None:
    made = json.loads((await post(gateway, "invitations", f"X-API-Key: {KEY}")).body)
    await rows.execute("UPDATE gateway.invitations SET expires_at = now() WHERE id = $1", made["id"])
    wish = {"email": "late@example.org", "password": PASSWORD, "display_name": "Late"}
    refused = problem(await post(gateway, "register", **wish, invitation=made["invitation"]))
    assert refused["code"] == "invitation_unusable"


async def test_an_answer_that_got_lost_can_be_had_again(gateway: Gateway, rows: asyncpg.Connection) -> None:
    login = await register(gateway, "answer-lost@example.org")
    lost = logged_in(await post(gateway, "refresh", refresh_token=login.refresh))
    again = logged_in(await post(gateway, "refresh", refresh_token=login.refresh))
    assert again.refresh == lost.refresh, "the session does not fork"
    logged_in(await post(gateway, "refresh", refresh_token=again.refresh))
    assert await events(rows, "session.reuse_detected", user_id=login.user["id"]) == []


async def test_refreshes_at_once_give_one_next_token(gateway: Gateway) -> None:
    login = await register(gateway, "tabs@example.org")
    found = await asyncio.gather(*(post(gateway, "refresh", refresh_token=login.refresh) for _ in range(5)))
    assert len({logged_in(answer).refresh for answer in found}) == 1


@pytest.mark.parametrize("later", ["the grace is over", "its successor was used"])
async def test_a_refresh_token_that_comes_again_ends_its_session(
    gateway: Gateway, rows: asyncpg.Connection, later: str
) -> None:
    login = await register(gateway, f"{later.replace(' ', '-')}@example.org")
    following = logged_in(await post(gateway, "refresh", refresh_token=login.refresh))
    if later == "the grace is over":
        await rows.execute("UPDATE gateway.sessions SET refreshed_at = now() - interval '11 seconds'")
    else:
        following = logged_in(await post(gateway, "refresh", refresh_token=following.refresh))
    reused = problem(await post(gateway, "refresh", refresh_token=login.refresh))
    assert (reused["status"], reused["code"]) == (401, "session_over")
    assert (await post(gateway, "refresh", refresh_token=following.refresh)).status == 401
    await ended(gateway, following.access)
    assert (await post(gateway, "refresh", refresh_token=login.refresh)).status == 401
    assert len(await events(rows, "session.reuse_detected", user_id=login.user["id"])) == 1


async def ended(gateway: Gateway, access: str) -> None:
    """Wait until the access token is refused: the news travels, if only for milliseconds."""
    async with asyncio.timeout(5):
        while (await me(gateway, access)).status != 401:
            pass


FORGED = {
    "nothing": "",
    "no token": "mr_refresh_",
    "an access token": "eyJhbGciOiJub25lIn0.e30.",
    "another's mac": "mr_refresh_" + "0" * 32 + "_0_" + "A" * 43,
    "half a character": "\udcff",
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize("path", ["refresh", "logout"])
async def test_a_forged_refresh_token_is_refused(gateway: Gateway, path: str, forged: str) -> None:
    assert (await post(gateway, path, refresh_token=forged)).status in (401, 422)


async def test_a_forged_number_does_not_end_a_session(gateway: Gateway) -> None:
    login = await register(gateway, "number@example.org")
    assert login.refresh.count("_0_") == 1
    assert (await post(gateway, "refresh", refresh_token=login.refresh.replace("_0_", "_7_"))).status == 401
    logged_in(await post(gateway, "refresh", refresh_token=login.refresh))


async def test_a_session_that_nobody_refreshes_expires(gateway: Gateway, rows: asyncpg.Connection) -> None:
    login = await register(gateway, "idle@example.org")
    await rows.execute("UPDATE gateway.sessions SET expires_at = now() WHERE user_id = $1", login.user["id"])
    assert problem(await post(gateway, "refresh", refresh_token=login.refresh))["code"] == "session_over"


async def test_a_key_may_ask_who_it_is(gateway: Gateway) -> None:
    who = json.loads((await gateway.ask("GET /api/v1/auth/me")).body)
    assert (who["tenant"], who["role"], who["user"], who["expires_at"]) == ("default", None, None, None)
    assert who["subject"].startswith("key:")


@pytest.mark.parametrize("line", ["GET /api/v1/auth/me", "POST /api/v1/auth/invitations"])
async def test_some_paths_need_a_credential(gateway: Gateway, line: str) -> None:
    assert (await gateway.ask(line, key=None)).status == 401


async def test_an_invitation_that_is_asked_for_again_is_the_same(gateway: Gateway, rows: asyncpg.Connection) -> None:
    admin = await register(gateway, "repeating@example.org")
    again = ("Idempotency-Key: invite-one", admin.bearer)
    answers = await asyncio.gather(*(post(gateway, "invitations", *again, role="member") for _ in range(5)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1, "the secret too, though it is nowhere kept"
    made = json.loads(answers[0].body)
    assert len(await events(rows, "user.invited", invitation_id=made["id"])) == 1
    other = problem(await post(gateway, "invitations", *again, role="viewer"))
    assert (other["status"], other["code"]) == (422, "idempotency_key_reused")
    assert other["errors"][0]["field"] == "header.idempotency-key"
    stranger = await register(gateway, "another-inviter@example.org")
    theirs = await post(gateway, "invitations", "Idempotency-Key: invite-one", stranger.bearer, role="member")
    assert json.loads(theirs.body)["invitation"] != made["invitation"]
    guest = await register(gateway, "repeated-guest@example.org", invitation=made["invitation"])
    assert guest.user["tenant"] == admin.user["tenant"]
    used = await post(gateway, "invitations", *again, role="member")
    assert used.body == answers[0].body, "also when somebody has come by it: it lets nobody else in"
    wish = {"email": "second-guest@example.org", "password": PASSWORD, "display_name": "B"}
    refused = problem(await post(gateway, "register", **wish, invitation=made["invitation"]))
    assert refused["code"] == "invitation_unusable"


async def test_who_registers_again_because_the_answer_was_lost_is_logged_in(
    gateway: Gateway, rows: asyncpg.Connection
) -> None:
    admin = await register(gateway, "inviting@example.org")
    invited = json.loads((await post(gateway, "invitations", admin.bearer, role="member")).body)["invitation"]
    wish = {
        "email": "registered-twice@example.org",
        "password": PASSWORD,
        "display_name": "Lost",
        "invitation": invited,
    }
    first, second = [logged_in(await post(gateway, "register", "Idempotency-Key: r-1", **wish)) for _ in range(2)]
    assert first.user == second.user
    assert (await me(gateway, second.access)).status == 200
    assert len(await events(rows, "user.registered", user_id=first.user["id"])) == 1
    for changed in ({"display_name": "Other"}, {"password": "another password"}):
        refused = problem(await post(gateway, "register", "Idempotency-Key: r-1", **{**wish, **changed}))
        assert (refused["status"], refused["code"]) == (422, "idempotency_key_reused")
    del wish["invitation"]
    for fields in ((), ("Idempotency-Key: r-2",)):
        refused = problem(await post(gateway, "register", *fields, **wish))
        assert (refused["status"], refused["code"]) == (409, "email_taken")


@pytest.mark.parametrize("invited", [False, True])
async def test_who_registers_twice_at_once_is_one_person_and_logged_in_twice(gateway: Gateway, invited: bool) -> None:
    wish: dict[str, Any] = {"email": f"hasty-{invited}@example.org", "password": PASSWORD, "display_name": "Hasty"}
    if invited:
        admin = await register(gateway, "hasty-host@example.org")
        made = await post(gateway, "invitations", admin.bearer)
        wish["invitation"] = json.loads(made.body)["invitation"]
    again = f"Idempotency-Key: hasty-{invited}"
    logins = [
        logged_in(each) for each in await asyncio.gather(*(post(gateway, "register", again, **wish) for _ in range(3)))
    ]
    assert len({login.user["id"] for login in logins}) == 1


async def test_a_used_invitation_stays_used_when_its_idempotency_key_comes_back(
    gateway: Gateway, rows: asyncpg.Connection
) -> None:
    admin = await register(gateway, "inviting-again@example.org")
    again = ("Idempotency-Key: for-ever", admin.bearer)
    first = json.loads((await post(gateway, "invitations", *again)).body)
    await register(gateway, "first-guest@example.org", invitation=first["invitation"])
    await rows.execute("DELETE FROM gateway.invitations WHERE id = $1", first["id"])  # as the sweep does in the end
    second = json.loads((await post(gateway, "invitations", *again)).body)
    assert second["invitation"] != first["invitation"]
    wish = {"email": "late-guest@example.org", "password": PASSWORD, "display_name": "Late"}
    assert problem(await post(gateway, "register", **wish, invitation=first["invitation"]))["status"] == 422
