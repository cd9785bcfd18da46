"""Whatever the URL and whatever DNS says, a connection is only attempted to an address that an allowed host has."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from fixtures.attempts import an_attempt
from fixtures.http_peers import http_call
from processor.builtin.handler import Here
from processor.step import StepError

PATTERNS = ("allowed.example", "*.wild.example", "port.example:8443", "9.9.9.9", "127.0.0.1", "[::1]")
REFUSED = {"invalid_url", "host_not_allowed", "address_not_allowed", "connection_failed"}

addresses = st.sampled_from(
    [
        "93.184.215.14",
        "2606:4700::1",
        "127.0.0.1",
        "169.254.169.254",
        "10.1.2.3",
        "::1",
        "::ffff:127.0.0.1",
        "::",
        "0.0.0.0",
    ]
)
pieces = st.sampled_from(
    [
        *("http://", "https://", "HTTP://", "ftp://", "//", "http:", "http:/\\", "http:\\\\"),
        *("allowed.example", "ALLOWED.example", "sub.wild.example", "wild.example", "port.example", "evil.example"),
        *("9.9.9.9", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "localhost", "[::1%25lo]"),
        *(
            ":80",
            ":443",
            ":8443",
            ":",
            ":0",
            "@",
            "user:password@",
            "/",
            "\\",
            "#",
            "?",
            ".",
            "..",
            "%40",
            "%2e",
            "%00",
        ),
        *("\r\n", "\t", " ", "。", "ａ", "①", "ſ", "\u212a", "\u200d", "\ud800", "[", "]", ";", "a=b", "&"),
    ]
)
nearly_right = st.tuples(
    st.sampled_from(["http://", "https://"]),
    st.sampled_from(["allowed.example", "a.wild.example", "port.example", "evil.example", "9.9.9.9", "127.0.0.1"]),
    st.sampled_from(["", "", ":80", ":443", ":8443"]),
    st.sampled_from(["", "/", "?a=b", "/a@evil.example", "@evil.example", "\\@evil.example", "#", ".evil.example"]),
).map("".join)
urls = st.one_of(
    nearly_right,
    nearly_right,
    st.lists(pieces, max_size=8).map("".join),
    st.tuples(st.sampled_from(["http://", "https://"]), st.lists(pieces, max_size=5)).map(
        lambda parts: parts[0] + "".join(parts[1])
    ),
    st.text(max_size=40),
    st.text(max_size=20).map(lambda text: f"http://{text}allowed.example/"),
    st.text(max_size=20).map(lambda text: f"http://allowed.example{text}evil.example/"),
)


class World:
    """A DNS that answers each lookup with something else, and a network that lets nobody through."""

    def __init__(self) -> None:
        self.answers: list[list[str]] = []
        self.lookups: list[tuple[str, int]] = []
        self.attempts: list[tuple[str, int]] = []

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.lookups.append((host, port))
        return self.answers[(len(self.lookups) - 1) % len(self.answers)]

    async def connect(self, _socket: Any, address: tuple[Any, ...]) -> None:
        self.attempts.append((str(address[0]), int(address[1])))
        raise ConnectionRefusedError


@pytest_asyncio.fixture(loop_scope="session")
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", world.connect)
    return world


@pytest_asyncio.fixture(loop_scope="session")
async def call(world: World) -> AsyncIterator[Here]:
    async with http_call(*PATTERNS, dns=world.resolve, private=False) as call:
        yield call


def allowed(host: str, port: int) -> bool:
    if host == "port.example":
        return port == 8443
    return (host == "allowed.example" or host.endswith(".wild.example")) and port in {80, 443}


@settings(max_examples=1_500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(url=urls, answers=st.lists(st.lists(addresses, min_size=1, max_size=3), min_size=2, max_size=2))
async def test_no_url_and_no_dns_lead_elsewhere(url: str, answers: list[list[str]], world: World, call: Here) -> None:
    world.answers, world.lookups, world.attempts = answers, [], []
    with pytest.raises(StepError) as failed:
        await call(an_attempt(), {"url": url})
    assert failed.value.code in REFUSED
    event(f"{failed.value.code}, {'connecting' if world.attempts else 'not connecting'}")
    assert len(world.lookups) <= 1
    assert all(allowed(host, port) for host, port in world.lookups)
    reachable = {(address, port) for _, port in world.lookups for address in answers[0]}
    assert set(world.attempts) <= reachable | {("9.9.9.9", 80), ("9.9.9.9", 443)}
    assert all(ip_address(address).is_global for address, _ in world.attempts)


@pytest.mark.parametrize("url", ["http://allowed.example/", "https://sub.wild.example/", "http://9.9.9.9/"])
async def test_an_allowed_url_does_lead_somewhere(url: str, world: World, call: Here) -> None:
    """Else the property above would hold for nothing."""
    world.answers = [["93.184.215.14", "2606:4700::1"], ["127.0.0.1"]]
    with pytest.raises(StepError) as failed:
        await call(an_attempt(), {"url": url})
    assert failed.value.code == "connection_failed"
    assert world.attempts
