"""What the SDKs of the Centrifugo protocol, as they come from npm and PyPI, do with us through the gateway."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from deploy.provision import Database
from fixtures.accounts import register
from fixtures.centrifuge_sdks import Edition, Sdk
from fixtures.centrifugo import ENDPOINT, say
from fixtures.gateway import KEY
from fixtures.parts import OpenParts
from fixtures.servers import MigratedServer
from fixtures.sockets import ADMIN, Site, open_site
from fixtures.way import HEALTHY, Fate, Way

pytestmark = pytest.mark.timeout(600)  # the first time, Node is fetched

TENANT = "default"


@dataclass
class Stage:
    site: Site
    way: Way
    sdk: Sdk
    edition: Edition

    async def connect(self, token: str = KEY) -> None:
        await self.sdk.tell("open", self.way.url.replace("http", "ws") + ENDPOINT, token)
        assert (await self.take("", 2))[1] == ["connected"]

    async def take(self, channel: str, count: int) -> list[list[Any]]:
        heard: list[list[Any]] = await self.sdk.tell("take", channel, count)
        return heard


@pytest_asyncio.fixture
async def stage(sdk: Edition, database: Database, open_parts_for: OpenParts, data_dir: Path) -> AsyncIterator[Stage]:
    async with (
        open_site(database, open_parts_for, data_dir, allowed_origins=sdk.origin) as site,
        Way.to(site.gateway.url) as way,
        sdk.open() as puppet,
    ):
        yield Stage(site, way, puppet, sdk)


async def test_a_stream_is_followed_from_its_first_event_on_over_cut_connections(stage: Stage) -> None:
    job_id = await stage.site.writer.job(250, tenant=TENANT)
    channel = f"job:{job_id}"
    dice, cuts = random.Random(7), 6
    stage.way.fates = iter([*(Fate(answered=dice.randrange(2_000, 12_000)) for _ in range(cuts)), HEALTHY])
    await stage.connect()
    await stage.sdk.tell("follow", channel, {"since": {"offset": 0, "epoch": ""}})
    for _ in range(5):
        await stage.site.writer.append(job_id, 10, tenant=TENANT)
    version = 0
    while version < 300:
        ((what, *said),) = await stage.take(channel, 1)
        if what == "subscribed":
            assert said == [True, True, version]
        else:
            version += 1
            assert said == [version, "job.progressed"]
    assert stage.way.cuts == cuts


async def test_who_follows_many_channels_follows_all_of_them_when_it_comes_back(stage: Stage) -> None:
    """JavaScript's asks for all in one long message, Python's in one for each."""
    jobs = await asyncio.gather(*(stage.site.writer.job(1, tenant=TENANT) for _ in range(150)))
    await stage.connect()
    for job_id in jobs:
        await stage.sdk.tell("follow", f"job:{job_id}", {})
    for job_id in jobs:
        assert await stage.take(f"job:{job_id}", 1) == [["subscribed", False, False, 1]]
    await stage.way.close()
    await stage.way.mend()
    for job_id in jobs:
        assert await stage.take(f"job:{job_id}", 1) == [["subscribed", True, True, 1]]
    assert [what for what, *_ in await stage.take("", 2)] == ["connecting", "connected"], "it came back once"


async def test_a_log_that_was_restored_is_told_as_unrecovered_or_shown_anew(
    stage: Stage, migrated_server: MigratedServer, open_parts_for: OpenParts, data_dir: Path
) -> None:
    told, shown = await stage.site.writer.job(3, tenant=TENANT), await stage.site.writer.job(4, tenant=TENANT)
    async with (
        migrated_server.new_database() as database,
        open_site(database, open_parts_for, data_dir, allowed_origins=stage.edition.origin) as restored,
    ):
        await stage.connect()
        await stage.sdk.tell("follow", f"job:{told}", {})
        await stage.sdk.tell("follow", f"job:{shown}", {"snapshot": True})
        assert await stage.take(f"job:{told}", 1) == [["subscribed", False, False, 3]]
        assert await stage.take(f"job:{shown}", 2) == [["state", 4], ["subscribed", True, True, 4]]

        for job_id in told, shown:
            await restored.writer.append(job_id, 2, tenant=TENANT)
        await stage.way.close()
        stage.way.server_port = restored.gateway.port
        await stage.way.mend()
        assert await stage.take(f"job:{told}", 1) == [["subscribed", True, False, 2]]
        assert await stage.take(f"job:{shown}", 2) == [["state", 2], ["subscribed", True, True, 2]]
        for job_id in told, shown:
            await restored.writer.append(job_id, tenant=TENANT)
            assert await stage.take(f"job:{job_id}", 1) == [["publication", 3, "job.progressed"]]


async def test_what_a_channel_is_and_was_can_be_asked_for_and_nothing_else(stage: Stage) -> None:
    job_id = await stage.site.writer.job(5, tenant=TENANT)
    channel, foreign = f"job:{job_id}", f"job:{await stage.site.writer.job(1)}"
    epoch = str((await stage.site.writer.log.head()).epoch)
    await stage.connect()

    snapshot = await stage.sdk.tell("rpc", "snapshot", {"channel": channel})
    assert (snapshot["offset"], snapshot["epoch"], snapshot["event"]["data"]["progress_percent"]) == (5, epoch, 7)
    place = {"offset": 2, "epoch": epoch}
    page = await stage.sdk.tell("history", channel, {"limit": 2, "since": place})
    assert [each["offset"] for each in page["publications"]] == [3, 4]
    page = await stage.sdk.tell("history", channel, {"limit": 10, "since": place, "reverse": True})
    assert [each["offset"] for each in page["publications"]] == [1]
    assert (page["offset"], page["epoch"]) == (5, epoch)

    await stage.sdk.tell("follow", channel, {})
    assert await stage.take(channel, 1) == [["subscribed", False, False, 5]]
    (present,) = (await stage.sdk.tell("presence", channel)).values()
    assert present["user"] == ADMIN
    assert await stage.sdk.tell("presence_stats", channel) == [1, 1]

    assert await stage.sdk.tell("publish", channel, {}) == {"refused": 103}
    assert await stage.sdk.tell("rpc", "snapshot", {"channel": foreign}) == {"refused": 102}
    assert await stage.sdk.tell("history", "tenant:acme", {"limit": 1}) == {"refused": 103}
    for name, number in {foreign: 102, "tenant:acme": 103, "user:bob": 103, "nothing": 102}.items():
        await stage.sdk.tell("follow", name, {})
        assert await stage.take(name, 1) == [["unsubscribed", number]]


async def test_what_is_a_users_own_is_followed_unasked_and_resumed(stage: Stage) -> None:
    person = await register(stage.site.gateway, "ada@example.org")
    channel, tenant = f"user:{person.user['id']}", person.user["tenant"]
    await stage.connect(person.access)
    ((_, *begun),) = await stage.take(channel, 1)
    assert begun == [False, False, 0]
    await say(stage.site.writer, channel, "booking.confirmed", "booking.changed", tenant=tenant)
    assert await stage.take(channel, 2) == [
        ["publication", 1, "booking.confirmed"],
        ["publication", 2, "booking.changed"],
    ]
    await stage.way.close()
    await say(stage.site.writer, channel, "booking.confirmed", tenant=tenant)
    await stage.way.mend()
    assert await stage.take(channel, 2) == [["subscribed", True, True, 2], ["publication", 3, "booking.confirmed"]]
