"""The table of limits, what answers say of them, and whom an address stands for."""

from ipaddress import ip_network

import pytest

from events.errors import BadRequest, StartupError
from gateway.limits.address import Addresses
from gateway.limits.headers import Bucket, limit_line, policy_line
from gateway.limits.policy import CLASSES, Connects, Limit, RouteClass, classes
from gateway.upstreams import UPSTREAMS
from gateway.wire.heads import RequestHead
from gateway.wire.proxy_protocol import read_preamble

SECOND = 1_000_000_000  # ns


def test_every_route_is_of_a_class_that_exists() -> None:
    table = classes({}, {})
    for route in UPSTREAMS:
        for method in (b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT", b"PATCH", b"DELETE"):
            limited_as = route.limited_as(method)
            assert limited_as is None or limited_as in table
            if route.public and limited_as is not None:
                assert set(table[limited_as].limits) == {"address"}, "nothing else is known of a stranger"


def test_only_what_guards_passwords_is_closed_when_nobody_can_count() -> None:
    assert [known.name for known in CLASSES if not known.passes_uncounted] == ["auth"]


def test_an_operator_changes_takes_away_and_adds_limits() -> None:
    table = classes(
        {"read": {"subject": Limit(1, 2), "tenant": None}, "auth": {"subject": Limit(3, 4)}},
        {"read": Connects(10, 1, 2)},
    )
    assert table["read"].limits["subject"] == Limit(1, 2)
    assert "tenant" not in table["read"].limits
    assert table["read"].limits["address"] == classes({}, {})["read"].limits["address"]
    assert set(table["auth"].limits) == {"address", "subject"}
    assert table["read"].connects == Connects(10, 1, 2)


def test_an_unknown_class_is_named_with_those_that_there_are() -> None:
    with pytest.raises(StartupError, match="MILLRACE_LIMITS names the class 'raed'; there are auth, "):
        classes({"raed": {}}, {})
    with pytest.raises(StartupError, match="MILLRACE_LIMITS_CONNECTS names the class 'sockets'; there are auth, "):
        classes({}, {"sockets": Connects(10, 1, 2)})


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (float("nan"), 1), (2e6, 1), (1, 0), (1e-9, 1)])
def test_a_limit_that_means_nothing_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="rate must be above 0"):
        Limit(rate, burst)


@pytest.mark.parametrize(("seconds", "free", "most"), [(0, 1, 1), (61, 1, 1), (10, 0, 1), (10, 2, 1), (10, 1, 10_001)])
def test_connects_that_mean_nothing_are_refused(seconds: int, free: int, most: int) -> None:
    with pytest.raises(ValueError, match="seconds must be 1 to 60"):
        Connects(seconds, free, most)


def test_a_bucket_never_fills_faster_than_its_rate() -> None:
    for rate in (3, 7, 300, 999_999):
        assert 1e9 / Limit(rate, 1).interval <= rate


def test_the_policy_names_quota_and_window_of_each_bucket() -> None:
    limited = RouteClass("read", {"subject": Limit(100, 200), "address": Limit(0.5, 20)})
    assert policy_line(limited) == b'ratelimit-policy: "read-subject";q=200;w=2, "read-address";q=20;w=40\r\n'
    assert policy_line(RouteClass("read", {"subject": Limit(100, 1)})).endswith(b";q=1;w=1\r\n")


def test_the_limit_is_that_of_the_bucket_that_is_empty_first() -> None:
    mine, ours = Bucket("a", "mine", Limit(1, 10)), Bucket("b", "ours", Limit(10, 100))
    assert limit_line([mine, ours], [3 * SECOND, 0]) == b'ratelimit: "mine";r=7;t=3\r\n'
    assert limit_line([mine, ours], [0, 99 * SECOND // 10]) == b'ratelimit: "ours";r=1;t=10\r\n'
    assert limit_line([mine], [10 * SECOND]) == b'ratelimit: "mine";r=0;t=1\r\n', "when one more will do"
    assert limit_line([mine], [0]) == b'ratelimit: "mine";r=10;t=0\r\n'


def _address(peer: str, *forwarded: str, trusted: tuple[str, ...] = ("10.0.0.0/8", "fd00::/8")) -> str:
    fields = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    head = RequestHead(b"GET", b"/", False, fields, None, False, frozenset())
    return Addresses([ip_network(network) for network in trusted]).of(peer, head)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", (), "203.0.113.9"),
        ("203.0.113.9", ("1.1.1.1",), "203.0.113.9"),
        ("::ffff:203.0.113.9", (), "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", (), "2001:db8:1:2::/64"),
        ("fe80::1%eth0", (), "fe80::/64"),
        ("", (), "local"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("1.1.1.1",), "1.1.1.1"),
        ("10.0.0.1", ("1.1.1.1, 2.2.2.2",), "2.2.2.2"),
        ("10.0.0.1", ("1.1.1.1", "2.2.2.2, 10.9.9.9"), "2.2.2.2"),
        ("10.0.0.1", ("1.1.1.1:4711",), "1.1.1.1"),
        ("10.0.0.1", ("[2001:db8::1]:4711",), "2001:db8::/64"),
        ("fd00::1", ("2001:db8::1",), "2001:db8::/64"),
        ("10.0.0.1", ("1.1.1.1, unknown, 10.2.2.2",), "10.2.2.2"),
        ("10.0.0.1", ("ÿþ",), "10.0.0.1"),
        ("10.0.0.1", ("",), "10.0.0.1"),
        ("10.0.0.1", ("10.0.0.3, 10.0.0.2",), "10.0.0.3"),
        ("10.0.0.1", ("1.1.1.1" + ", 10.0.0.2" * 1000,), "10.0.0.2"),
    ],
)
def test_an_address_is_the_last_one_that_no_trusted_proxy_has(
    peer: str, forwarded: tuple[str, ...], address: str
) -> None:
    assert _address(peer, *forwarded) == address


def test_by_default_nobody_is_trusted() -> None:
    assert _address("10.0.0.1", "1.1.1.1", trusted=()) == "10.0.0.1"


V2 = b"\r\n\r\n\x00\r\nQUIT\n"
TCP6 = V2 + b"\x21\x21\x00\x24" + bytes.fromhex("20010db8" + "00" * 11 + "01") * 2 + b"\x00\x01\x00\x02"


@pytest.mark.parametrize(
    ("preamble", "named"),
    [
        (b"PROXY TCP4 203.0.113.1 198.51.100.1 5000 443\r\n", "203.0.113.1"),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 5000 443\r\n", "2001:db8::1"),
        (b"PROXY UNKNOWN\r\n", None),
        (V2 + b"\x20\x00\x00\x00", None),
        (V2 + b"\x21\x31\x00\x02xx", None),
        (TCP6, "2001:db8::1"),
    ],
)
def test_a_proxys_preamble_is_read_whole_and_nothing_behind_it(preamble: bytes, named: str | None) -> None:
    for length in range(1, len(preamble)):
        assert read_preamble(preamble[:length]) is None
    assert read_preamble(preamble + b"GET / HTTP/1.1") == (len(preamble), named)


def test_a_connection_without_a_preamble_begins_with_its_request() -> None:
    for method in (b"G", b"POST /", b"PUT / HTTP/1.1"):
        assert read_preamble(method) in ((0, None), None)
    assert read_preamble(b"POST /") == (0, None)


@pytest.mark.parametrize(
    "broken",
    [
        b"PROXY TCP4 203.0.113.1\r\n",
        b"PROXY TCP5 a b c d\r\n",
        b"PROXY " + b"x" * 107,
        V2 + b"\x11\x11\x00\x00",
        V2 + b"\x22\x11\x00\x00",
        V2 + b"\x21\x11\x00\x04abcd",
    ],
)
def test_a_broken_preamble_is_refused(broken: bytes) -> None:
    with pytest.raises(BadRequest):
        read_preamble(broken)
