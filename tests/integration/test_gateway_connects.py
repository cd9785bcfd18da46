"""How often one principal may connect to one path: told by a close code, since browsers show nothing of a refusal."""

import json
from pathlib import Path

import asyncpg

from deploy.provision import Database
from fixtures.gateway import open_gateway
from fixtures.limits import COUNTED, UPGRADE, connect, let_time_pass
from gateway.limits.policy import Connects


async def test_connects_beyond_five_are_closed_with_1013_and_beyond_twenty_refused(
    database: Database, tmp_path: Path, any_service: str, database_owner: asyncpg.Connection
) -> None:
    async with (
        open_gateway(database, tmp_path / "1", any_service, **COUNTED) as one,
        open_gateway(database, tmp_path / "2", any_service, **COUNTED) as other,
    ):

        async def connects(count: int, path: str = "/ws/job-1") -> list[str]:
            return [await connect((one, other)[n % 2], path) for n in range(count)]

        assert await connects(5) == ["open"] * 5
        assert await connects(15) == ["1013 Too many connects. Try again in 10 s."] * 15
        assert await connects(3) == ["429 10"] * 3
        assert await connects(1, "/ws/job-2") == ["open"], "another path is another matter"
        await let_time_pass(database_owner, 10)
        assert await connects(1) == ["open"]


async def test_the_polite_close_answers_with_the_first_subprotocol_that_was_asked_for(
    database: Database, tmp_path: Path, any_service: str
) -> None:
    async with open_gateway(database, tmp_path, any_service, **COUNTED) as gateway:
        for _ in range(5):
            assert await connect(gateway, "/ws") == "open"
        async with gateway.wire() as wire:
            wire.request("GET /ws", *UPGRADE, "Sec-WebSocket-Protocol: chat, superchat")
            assert (await wire.head()).get("sec-websocket-protocol") == "chat"
        incomplete = await gateway.ask("GET /ws", *UPGRADE[:2])
        assert incomplete.status == 429, "what is no whole handshake can't be accepted"


async def test_a_connection_has_a_limit_of_its_own_and_reads_over_it_are_429(
    database: Database, tmp_path: Path, any_service: str
) -> None:
    fewer = {"connection": Connects(seconds=10, free=8, most=10)}
    async with open_gateway(database, tmp_path, any_service, limits_connects=fewer, **COUNTED) as gateway:
        for _ in range(8):
            assert await connect(gateway, "/connection/websocket") == "open"
            assert (await gateway.ask("GET /connection/sse")).status == 200
        assert (await connect(gateway, "/connection/websocket")).startswith("1013 ")
        refused = await gateway.ask("GET /connection/sse")
        assert refused.status == 429, "what is no WebSocket has no close code"
        assert json.loads(refused.body)["violated-policies"] == ["connection-connects"]


async def test_a_connect_that_reaches_no_service_is_not_counted(
    database: Database, tmp_path: Path, database_owner: asyncpg.Connection
) -> None:
    async with open_gateway(database, tmp_path, "http://127.0.0.1:9", **COUNTED) as gateway:
        assert [(await gateway.ask("GET /ws", *UPGRADE)).status for _ in range(8)] == [503] * 8
    assert await database_owner.fetchval("SELECT count(*) FROM gateway.connects") == 0
