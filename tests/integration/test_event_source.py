"""`EventSource` itself, in a real browser, through the gateway and over a network that cuts its connections."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from deploy.provision import Database
from fixtures.chromium import Tab
from fixtures.event_streams import sse
from fixtures.parts import OpenParts
from fixtures.sockets import Site, open_site
from fixtures.way import HEALTHY, Fate, Way

JSON = "Content-Type: application/json"

pytestmark = pytest.mark.timeout(600)  # the first time, Node and Chromium are fetched

# What a page does that wants to know: it never looks at an id, and never connects again by itself.
_PAGE = """
window.seen = []; window.opened = 0; window.told = []; window.waiting = null;
window.changed = () => { if (waiting && waiting.holds()) waiting.tell([seen, opened, told, source.readyState]); };
window.until = (holds) => new Promise((tell) => { waiting = {holds, tell}; changed(); });
window.source = new EventSource(%s, {withCredentials: %s});
source.onopen = () => { opened += 1; changed(); };
source.onmessage = (said) => { seen.push(JSON.parse(said.data).version); changed(); };
source.addEventListener("gap", (said) => { told.push(JSON.parse(said.data).code); changed(); });
source.onerror = (said) => { if (said.data) told.push(JSON.parse(said.data).code); changed(); };
undefined
"""


@pytest_asyncio.fixture
async def way(chromium: Tab) -> AsyncIterator[Way]:
    async with Way.to("http://127.0.0.1:9") as way:
        yield way
        await chromium.tell("window.source && source.close()")
        await chromium.call("Page.navigate", url="about:blank")
        await chromium.call("Page.setBypassCSP", enabled=False)


@pytest_asyncio.fixture
async def site(database: Database, open_parts_for: OpenParts, tmp_path: Path, way: Way) -> AsyncIterator[Site]:
    async with open_site(database, open_parts_for, tmp_path, allowed_origins=way.url) as site:
        way.server_port = site.gateway.port
        yield site


async def visit(chromium: Tab, url: str) -> None:
    """Any page of this origin, whose own policy is that it asks for nothing."""
    await chromium.call("Page.setBypassCSP", enabled=True)
    await chromium.call("Page.navigate", url=url)
    await chromium.until("Page.loadEventFired")


async def page(chromium: Tab, url: str, *, cookies: bool = False) -> None:
    await chromium.tell(_PAGE % (json.dumps(url), json.dumps(cookies)))


async def until(chromium: Tab, holds: str) -> Any:
    async with asyncio.timeout(60):
        return await chromium.tell(f"until(() => {holds})")


async def test_whatever_is_cut_it_has_every_event_once_and_in_order(chromium: Tab, site: Site, way: Way) -> None:
    """By a ticket, which is used up by the first connection."""
    job_id = await site.writer.job(40, tenant="default")
    ticket = (await site.ticket([f"job:{job_id}"]))["ticket"]
    await visit(chromium, f"{way.url}/ping")
    await way.close()  # with what the browser keeps open
    await way.mend()
    way.fates = chain([Fate(answered=8_000)], repeat(HEALTHY))
    await page(chromium, sse(f"job:{job_id}", after="0", ticket=ticket))
    await until(chromium, "seen.length >= 40")
    assert way.cuts == 1
    await site.writer.append(job_id, 10, tenant="default")
    await until(chromium, "seen.length >= 50")
    await way.close()
    await site.writer.append(job_id, 10, tenant="default")
    await way.mend()
    seen, opened, told, _ = await until(chromium, "seen.length >= 60")
    assert seen == list(range(1, 61))
    assert opened == 3
    assert told == []


async def test_it_gives_up_when_its_credential_was_revoked_and_knows_why(chromium: Tab, site: Site, way: Way) -> None:
    job_id = await site.writer.job(1, tenant="default")
    made = await site.gateway.ask("POST /api/v1/keys", JSON, body=b'{"name":"page","scopes":["jobs:read"]}')
    key = json.loads(made.body)
    ticket = json.loads((await site.gateway.ask("POST /api/v1/auth/tickets", key=key["key"])).body)["ticket"]
    await visit(chromium, f"{way.url}/ping")
    await page(chromium, sse(f"job:{job_id}", after="0", ticket=ticket))
    await until(chromium, "seen.length == 1")
    assert (await site.gateway.ask(f"DELETE /api/v1/keys/{key['id']}")).status == 204
    seen, _, told, _ = await until(chromium, "source.readyState == EventSource.CLOSED")
    assert (seen, told) == ([1], ["unauthenticated"])


async def test_a_page_of_an_allowed_origin_comes_again_too(chromium: Tab, site: Site, way: Way) -> None:
    """The door's own pages come by the way, those of the application by another: to a browser, that is cross-origin."""
    job_id = await site.writer.job(1, tenant="default")
    ticket = (await site.ticket())["ticket"]
    await visit(chromium, f"{way.url}/ping")
    async with Way.to(site.gateway.url) as door:
        await page(chromium, f"{door.url}{sse(f'job:{job_id}', after='0', ticket=ticket)}", cookies=True)
        await until(chromium, "seen.length == 1")
        await door.close()
        await site.writer.append(job_id, tenant="default")
        await door.mend()
        seen, _, told, _ = await until(chromium, "seen.length == 2")
    assert (seen, told) == ([1, 2], [])
