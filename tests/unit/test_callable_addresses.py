"""Which addresses `http.call` may connect to."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.builtin.addresses import may_be_called

PRIVATE = ["10.0.0.1", "10.255.255.255", "127.0.0.1", "127.255.255.254", "172.16.0.1", "172.31.255.255"]
PRIVATE += ["192.168.0.1", "::1", "fc00::1", "fdff:ffff::1"]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1"]
PUBLIC += [
    "168.63.129.17",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::200e",
    "2001:4860:4860::8888",
]
NEVER = [
    *("0.0.0.0", "0.1.2.3", "100.64.0.1", "100.100.100.200", "169.254.169.254", "169.254.0.1", "168.63.129.16"),
    *("192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "fe80::1", "fe80::1%eth0", "2606:4700:4700::1111%eth0", "fec0::1", "ff02::1", "100::1", "5f00::1"),
    *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "::127.0.0.1", "::8.8.8.8"),
    *("64:ff9b::127.0.0.1", "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::1", "2002:808:808::1"),
    *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1", "2001:20::1", "2001:db8::1", "3fff::1"),
    *("fd00:ec2::254", "fd20:ce::254"),
    *("", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.1 ", "[::1]", "1.1.1.1/32"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_called(address: str) -> None:
    assert may_be_called(address, private=False)
    assert may_be_called(address, private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_may_be_called_where_the_operator_says_so(address: str) -> None:
    assert not may_be_called(address, private=False)
    assert may_be_called(address, private=True)


@pytest.mark.parametrize("address", NEVER)
def test_other_addresses_may_never_be_called(address: str) -> None:
    assert not may_be_called(address, private=False)
    assert not may_be_called(address, private=True)


@given(st.one_of(st.ip_addresses(), st.ip_addresses(network="2000::/3"), st.integers(0, 2**32 - 1).map(IPv4Address)))
def test_what_may_be_called_is_global_for_python_too(address: IPv4Address | IPv6Address) -> None:
    if may_be_called(str(address), private=False):
        assert address.is_global
        assert not any([address.is_multicast, address.is_reserved, address.is_link_local, address.is_loopback])


@given(st.ip_addresses(v=4))
def test_no_wrapped_address_may_be_called(inner: IPv4Address) -> None:
    number = int(inner)
    wrapped = [0xFFFF << 32 | number, number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80]
    wrapped.append(0x20010000 << 96 | number << 64 | ~number & 0xFFFFFFFF)
    for one in wrapped:
        assert not may_be_called(str(IPv6Address(one)), private=False)
        assert not may_be_called(str(IPv6Address(one)), private=True) or ip_address(one) == IPv6Address("::1")
