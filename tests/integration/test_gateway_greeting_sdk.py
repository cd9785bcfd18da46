"""centrifuge, as npm has it: upon what it hears, does it ask its application for another token, and come again?"""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from deploy.process import free_port
from deploy.provision import Database
from fixtures.gateway import PATIENCE, Gateway
from fixtures.greetings import PATH, Person, open_place
from fixtures.node import NodeCommand
from gateway.auth.keys import new_key

pytestmark = pytest.mark.timeout(600)  # the first time, Node is fetched

SCRIPT = Path(__file__).parents[1] / "node" / "centrifuge_tokens.mjs"
CONNECTING, TOKEN, CONNECTED = ["connecting", 0], ["token"], ["connected", "c1"]
EXPIRED = ["error", "connect", 109]


@dataclass
class Clients:
    process: asyncio.subprocess.Process
    heard: defaultdict[str, list[list[Any]]] = field(default_factory=lambda: defaultdict(list))

    def open(self, name: str, gateway: Gateway, *tokens: str) -> None:
        assert self.process.stdin is not None
        wish = {"name": name, "url": f"ws://{gateway.host}:{gateway.port}{PATH}", "tokens": tokens}
        self.process.stdin.write(json.dumps(wish).encode() + b"\n")

    async def hears(self, name: str, *expected: list[Any]) -> None:
        """Exactly this, next."""
        assert self.process.stdout is not None
        async with asyncio.timeout(3 * PATIENCE):
            while len(self.heard[name]) < len(expected):
                whose, *said = json.loads(await self.process.stdout.readline())
                self.heard[whose].append(said)
        assert self.heard[name][: len(expected)] == list(expected)
        del self.heard[name][: len(expected)]


@pytest_asyncio.fixture
async def clients(node_command: NodeCommand) -> AsyncIterator[Clients]:
    process = await asyncio.create_subprocess_exec(
        *node_command(SCRIPT), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Clients(process)
    finally:
        process.kill()
        await process.wait()


async def test_the_sdk_asks_for_a_new_token_after_an_expiry_and_stops_after_a_revocation(
    clients: Clients, database: Database, tmp_path: Path
) -> None:
    async with open_place(database, tmp_path) as (gateway, _):
        person = await Person.come(gateway, database, "ada@example.org")
        old = person.token(exp=int(time.time()) - 1)
        wish = json.dumps({"name": "to be revoked", "scopes": ["jobs:read"]}).encode()
        made = await gateway.ask("POST /api/v1/keys", "Content-Type: application/json", body=wish)
        key = json.loads(made.body)

        clients.open("has an old one", gateway, old, person.token())
        clients.open("is logged out", gateway, old)
        clients.open("is revoked", gateway, key["key"], person.token())
        clients.open("is unknown", gateway, new_key(), person.token())

        await clients.hears("is unknown", CONNECTING, TOKEN, ["disconnected", 3500, "invalid token"])
        await clients.hears("has an old one", CONNECTING, TOKEN, EXPIRED, TOKEN, CONNECTED)
        await clients.hears("is logged out", CONNECTING, TOKEN, EXPIRED, TOKEN, ["disconnected", 1, "unauthorized"])
        clients.open("expires", gateway, person.token(exp=int(time.time()) + 3), person.token())
        await clients.hears("is revoked", CONNECTING, TOKEN, CONNECTED)
        assert (await gateway.ask(f"DELETE /api/v1/keys/{key['id']}")).status == 204
        await clients.hears("is revoked", ["disconnected", 3500, "credential revoked"])
        await clients.hears("expires", CONNECTING, TOKEN, CONNECTED)
        await clients.hears("expires", ["connecting", 3005], EXPIRED, TOKEN, CONNECTED)


async def test_the_sdk_comes_again_with_the_token_that_it_has_when_a_replica_has_stopped_or_is_overloaded(
    clients: Clients, database: Database, tmp_path: Path
) -> None:
    port = free_port()
    async with open_place(database, tmp_path, port=port) as (gateway, service):
        person = await Person.come(gateway, database, "ada@example.org")
        service.refusals = [b"503 Service Unavailable", b"429 Too Many Requests"]
        clients.open("comes", gateway, person.token())
        overloaded = (["error", "connect", 100], ["error", "connect", 111])
        await clients.hears("comes", CONNECTING, TOKEN, *overloaded, CONNECTED)
    await clients.hears("comes", ["connecting", 3001])
    async with open_place(database, tmp_path, port=port):
        await clients.hears("comes", CONNECTED)
