"""Who may open a socket, and what everybody else is told: an HTTP problem, before the upgrade."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from websockets.exceptions import InvalidStatus

from deploy.provision import Database
from events.broker.memory import MemoryBroker
from events.identity import PRINCIPAL_HEADER, Principal, PrincipalSigner
from fixtures.notifier import READER, RunningNotifier, Writer, open_notifier
from fixtures.parts import OpenParts


async def refusal(
    notifier: RunningNotifier, path: str, principal: Principal | None = READER, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """The status and the problem that an upgrade is answered with."""
    with pytest.raises(InvalidStatus) as refused:
        await notifier.connecting(path, principal, headers)
    response = refused.value.response
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.body is not None
    problem = json.loads(response.body)
    assert problem["status"] == response.status_code
    assert problem["instance"] == path.partition("?")[0]
    assert response.headers["X-Request-ID"] == problem["request_id"]
    return response.status_code, problem


async def test_without_a_principal_nobody_gets_in(notifier: RunningNotifier) -> None:
    status, problem = await refusal(notifier, "/ws", None)
    assert (status, problem["code"]) == (401, "unauthenticated")


async def test_a_principal_that_the_gateway_did_not_sign_is_refused(notifier: RunningNotifier) -> None:
    forged = PrincipalSigner("another secret, made up by somebody else").sign(READER)
    status, _ = await refusal(notifier, "/ws", None, {PRINCIPAL_HEADER: forged})
    assert status == 401
    status, _ = await refusal(notifier, "/ws", None, {PRINCIPAL_HEADER: "nonsense"})
    assert status == 401


async def test_a_credential_that_has_expired_is_refused(notifier: RunningNotifier) -> None:
    status, _ = await refusal(notifier, "/ws", replace(READER, expires_at=1))
    assert status == 401


async def test_a_credential_without_the_scope_is_refused(notifier: RunningNotifier, writer: Writer) -> None:
    uploader = replace(READER, scopes=frozenset({"uploads:write"}))
    for path in ("/ws", f"/ws/{await writer.job(1)}"):
        status, problem = await refusal(notifier, path, uploader)
        assert (status, problem["code"]) == (403, "forbidden")


async def test_a_ticket_that_is_bound_to_no_job_opens_no_progress(notifier: RunningNotifier) -> None:
    """Its socket opened, and was told nothing for ever."""
    for bound in (f"upload:{uuid4()}", f"tenant:{READER.tenant}"):
        status, problem = await refusal(notifier, "/ws", replace(READER, channels=frozenset({bound})))
        assert (status, problem["code"]) == (403, "forbidden")


async def test_a_job_that_nobody_promised_is_not_found(notifier: RunningNotifier) -> None:
    status, problem = await refusal(notifier, f"/ws/{uuid4()}")
    assert (status, problem["code"]) == (404, "not_found")


async def test_an_id_that_no_job_can_have_is_named_as_the_wrong_field(notifier: RunningNotifier) -> None:
    for path in ("/ws/not-a-uuid", "/ws/1", "/api/v1/ws/%00"):
        status, problem = await refusal(notifier, path)
        assert (status, problem["errors"][0]["field"]) == (422, "path.job_id")


async def test_a_malformed_cursor_is_named_as_the_wrong_field(notifier: RunningNotifier, writer: Writer) -> None:
    for path in ("/ws", f"/ws/{await writer.job(1)}"):
        for cursor in ("", "x", "-1", "1.5", "1e3", "9" * 30, "%F0%9F%99%82", "abc.1", ".1"):
            status, problem = await refusal(notifier, f"{path}?after={cursor}")
            assert (status, problem["errors"][0]["field"]) == (422, "query.after")


async def test_a_misspelt_parameter_is_named(notifier: RunningNotifier, writer: Writer) -> None:
    """It was ignored: who asked for `?aftr=5` was told everything."""
    for path in ("/ws", f"/ws/{await writer.job(1)}"):
        status, problem = await refusal(notifier, f"{path}?aftr=0&conflate=true")
        assert (status, [error["field"] for error in problem["errors"]]) == (422, ["query.aftr"])


async def test_a_cursor_of_another_epoch_is_refused_not_misread(notifier: RunningNotifier, writer: Writer) -> None:
    for path in ("/ws", f"/ws/{await writer.job(1)}"):
        status, problem = await refusal(notifier, f"{path}?after={uuid4()}.1")
        assert (status, problem["code"]) == (410, "cursor_expired")


async def test_a_cursor_beyond_the_newest_event_is_refused_not_waited_for(
    notifier: RunningNotifier, writer: Writer
) -> None:
    job_id = await writer.job(3)
    head = await writer.log.head()
    for target in (f"/ws/{job_id}?after=4", f"/ws?after={head.position + 1}"):
        status, problem = await refusal(notifier, target)
        assert (status, problem["code"]) == (410, "cursor_expired")


async def test_a_path_without_a_socket_is_not_found(notifier: RunningNotifier) -> None:
    for path in ("/", "/wss", "/ws/", "/ws/a/b", "/connection/websockets", "/api/v2/ws"):
        status, problem = await refusal(notifier, path)
        assert (status, problem["code"]) == (404, "not_found")


async def test_a_plain_request_is_told_to_upgrade(notifier: RunningNotifier) -> None:
    status, problem, headers = await notifier.get("/api/v1/ws")
    assert (status, problem["code"], headers["Upgrade"]) == (426, "upgrade_required", "websocket")


async def test_beyond_the_limit_of_connections_a_client_is_told_to_come_later(
    database: Database, open_parts_for: OpenParts
) -> None:
    async with (
        open_notifier(database, open_parts_for, MemoryBroker(), max_connections=1) as notifier,
        notifier.open("/ws"),
    ):
        status, problem = await refusal(notifier, "/ws")
        assert (status, problem["code"]) == (503, "unavailable")


async def test_the_request_id_of_the_gateway_comes_back(notifier: RunningNotifier) -> None:
    _, problem = await refusal(notifier, "/nowhere", headers={"X-Request-ID": "from-the-gateway"})
    assert problem["request_id"] == "from-the-gateway"
