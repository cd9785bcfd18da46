"""Where `http.call` goes: to an allowed host, at an address that was checked, once; whatever the URL and DNS say."""

import socket

import pytest

from fixtures.attempts import an_attempt
from fixtures.http_peers import LOOPBACK, Dns, answer, ask, http_call, peer
from processor.builtin.http_call import _socket
from processor.step import StepError

# Nothing is ever sent there: what it stands for is public, and the call must be refused before it.
PUBLIC = "93.184.215.14"


async def code_of(url: str, *hosts: str, dns: Dns | None = None, private: bool = False) -> str:
    async with http_call(*hosts, dns=dns, private=private, http_seconds=5) as call:
        with pytest.raises(StepError) as failed:
            await call(an_attempt(), {"url": url})
    return failed.value.code


@pytest.mark.parametrize(
    "url",
    [
        "http://{evil}/",
        "http://evil.test:{port}/",
        "http://allowed.test.evil.test:{port}/",
        "http://evilallowed.test:{port}/",
        "http://allowed.test@127.0.0.1:{port}/",
        "http://allowed.test:{port}@127.0.0.1:{port}/",
        "http://user:password@allowed.test:{port}/",
        "http://@allowed.test:{port}/",
        "http://allowed.test#@127.0.0.1:{port}/",
        "http://allowed.test:{port}#@127.0.0.1:{port}/",
        "http://allowed.test?@127.0.0.1:{port}/",
        "http://allowed.test:{port}\\@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}\\@allowed.test:{port}/",
        "http:\\\\127.0.0.1:{port}/",
        "http://allowed.test:{port}/\\@127.0.0.1:{port}/",
        "http:/\\allowed.test:{port}/",
        "http:allowed.test:{port}/",
        "http:///allowed.test:{port}/",
        "//allowed.test:{port}/",
        "allowed.test:{port}/",
        "",
        "ftp://allowed.test:{port}/",
        "file:///etc/passwd",
        "unix://allowed.test/",
        "http+unix://allowed.test:{port}/",
        " http://allowed.test:{port}/",
        "http://allowed.test:{port}/\r\nX-Injected: 1",
        "http://allowed.test:{port}/\n",
        "http://allowed.test:{port}/\t",
        "http://allowed.test:{port}/\x00",
        "http://allowed\t.test:{port}/",
        "http://allowed.test%00.evil.test:{port}/",
        "http://allowed%2etest:{port}/",
        "http://allowed.test.:{port}/",
        "http://allowed..test:{port}/",
        "http://.allowed.test:{port}/",
        "http://allowed.test:/",
        "http://allowed.test:0{port}/",
        "http://allowed.test:+{port}/",
        "http://allowed.test: {port}/",
        "http://allowed.test:99999/",
        "http://allowed.test:{port}:80/",
        "http://allowed.test:{other}/",
        "http://allowed.test/",
        "https://allowed.test/",
        "http://allowed。test:{port}/",
        "http://ａllowed.test:{port}/",
        "http://allowed.teſt:{port}/",
        "http://①②⑦.⓪.⓪.①:{port}/",
        "http://١٢٧.٠.٠.١:{port}/",
        "http://аllowed.test:{port}/",
        "http://xn--llowed-2ve.test:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f000001:{port}/",
        "http://0x7f.0.0.1:{port}/",
        "http://0177.0.0.1:{port}/",
        "http://017700000001:{port}/",
        "http://127.1:{port}/",
        "http://127.0.0.1.:{port}/",
        "http://127.0.0.01:{port}/",
        "http://0.0.0.0:{port}/",
        "http://0:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://[::]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://[::ffff:7f00:1]:{port}/",
        "http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/",
        "http://[::1%25lo]:{port}/",
        "http://[::1%lo]:{port}/",
        "http://[fe80::1]:{port}/",
        "http://[::1:{port}/",
        "http://[v1.x]:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://allowed.test:{port}/\ud800",
        "http://allowed.test:{port}/" + "a" * 10_000,
        "http://" + "a" * 64 + ".test:{port}/",
        "http://" + "a." * 200 + "test:{port}/",
    ],
)
async def test_a_url_that_is_not_plainly_that_of_an_allowed_host_reaches_nobody(url: str) -> None:
    """Even where private addresses are allowed, and a name that should not be looked up would lead to the peer."""
    dns = Dns(LOOPBACK)
    async with peer(answer(b"secret")) as seen, peer(answer(b"secret")) as other:
        asked = url.format(port=seen.port, other=other.port, evil=f"127.0.0.1:{seen.port}")
        code = await code_of(asked, f"allowed.test:{seen.port}", dns=dns, private=True)
    assert code in {"invalid_url", "host_not_allowed"}
    assert (seen.connections, other.connections, dns.lookups) == (0, 0, [])


async def test_nothing_is_allowed_unless_the_operator_says_so() -> None:
    assert await code_of("https://example.com/", dns=Dns([PUBLIC])) == "host_not_allowed"


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["::1"],
        ["0.0.0.0"],
        ["::"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["100.100.100.200"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        ["fe80::1"],
        ["fd00::1"],
        ["224.0.0.1"],
        ["nonsense"],
        [PUBLIC, "127.0.0.1"],
        ["127.0.0.1", PUBLIC],
        [PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::1"],
    ],
)
async def test_an_allowed_name_that_leads_inside_is_refused_whatever_else_it_has(addresses: list[str]) -> None:
    async with peer(answer(b"secret")) as seen:
        url = f"http://allowed.test:{seen.port}/"
        assert await code_of(url, f"allowed.test:{seen.port}", dns=Dns(addresses)) == "address_not_allowed"
    assert seen.connections == 0


@pytest.mark.parametrize("literal", ["127.0.0.1", "[::1]", "0.0.0.0", "169.254.169.254", "[::ffff:127.0.0.1]"])
async def test_an_address_that_is_allowed_by_mistake_is_refused_all_the_same(literal: str) -> None:
    async with peer(answer(b"secret")) as seen:
        url = f"http://{literal}:{seen.port}/"
        assert await code_of(url, f"{literal}:{seen.port}", dns=Dns(LOOPBACK)) == "address_not_allowed"
    assert seen.connections == 0


@pytest.mark.parametrize("literal", ["0.0.0.0", "169.254.169.254", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"])
async def test_private_addresses_are_not_all_others(literal: str) -> None:
    assert await code_of(f"http://{literal}/", literal, private=True) == "address_not_allowed"


async def test_a_name_that_is_rebound_after_the_check_gains_nothing() -> None:
    """The first lookup gave an address that was well, and the second, which the connection used, one inside."""
    dns = Dns(["127.0.0.1"], ["127.0.0.2"])
    async with peer(answer(b"checked")) as seen, peer(answer(b"inside"), host="127.0.0.2", port=seen.port) as inside:
        got = await ask(seen, given={"dns": dns})
    assert (got["body"], seen.connections, inside.connections) == ("checked", 1, 0)
    assert dns.lookups == ["api.test"]


def test_no_socket_is_opened_towards_an_address_that_is_not_well_however_it_got_there() -> None:
    """Whatever the library that connects does with names: this is the one place where it gets a socket."""
    with pytest.raises(PermissionError):
        _socket(lambda address: address != "127.0.0.1", (socket.AF_INET, socket.SOCK_STREAM, 0, "", (*LOOPBACK, 80)))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_a_request_whose_connection_ends_is_not_sent_again_by_itself(method: str) -> None:
    """aiohttp sends what it takes for idempotent a second time, after a second lookup."""
    dns = Dns(LOOPBACK)
    async with peer(b"") as seen:
        with pytest.raises(StepError) as failed:
            await ask(seen, method=method, body="x", given={"dns": dns})
    assert (failed.value.code, seen.connections, dns.lookups) == ("connection_failed", 1, ["api.test"])


async def test_each_attempt_looks_the_name_up_anew() -> None:
    dns = Dns(LOOPBACK, ["169.254.169.254"])
    async with peer(answer()) as seen, http_call(f"api.test:{seen.port}", dns=dns) as call:
        parameters = {"url": f"http://api.test:{seen.port}/"}
        await call(an_attempt(), parameters)
        with pytest.raises(StepError) as failed:
            await call(an_attempt(), parameters)
    assert (failed.value.code, seen.connections) == ("address_not_allowed", 1)
