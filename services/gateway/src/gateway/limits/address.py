"""Where a request comes from: whom its limits by address count for."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from gateway.wire.heads import RequestHead

Network = IPv4Network | IPv6Network
_Address = IPv4Address | IPv6Address

_IPV6_SITE = 64  # bits: whoever has one address there has them all
_MOST_HOPS = 32
_LONGEST_HOP = 80


class Addresses:
    """`X-Forwarded-For` counts as far as trusted proxies have written it: every proxy adds whom it heard at the end."""

    def __init__(self, trusted_proxies: Sequence[Network]) -> None:
        self._trusted = tuple(trusted_proxies)

    def of(self, peer: str, head: RequestHead) -> str:
        """The address of an IPv4 client, the /64 of an IPv6 client."""
        found = _parsed(peer)
        if found is None:
            return "local"
        if _trusts(self._trusted, found):
            for hop in reversed(_hops(head)):
                heard = _parsed(hop) if len(hop) <= _LONGEST_HOP else None
                if heard is None:
                    break  # whoever wrote this, what stands before it is worth nothing
                found = heard
                if not _trusts(self._trusted, found):
                    break
        return _site(found)


def is_trusted(peer: str, proxies: Sequence[Network]) -> bool:
    address = _parsed(peer) if proxies else None
    return address is not None and _trusts(proxies, address)


def _trusts(proxies: Sequence[Network], address: _Address) -> bool:
    return any(address.version == network.version and address in network for network in proxies)


def _hops(head: RequestHead) -> list[str]:
    lines = [value for name, value in head.headers if name == b"x-forwarded-for"]
    return b",".join(lines).decode("latin-1").split(",")[-_MOST_HOPS:] if lines else []


@lru_cache(maxsize=10_000)
def _parsed(text: str) -> _Address | None:
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]  # [address]:port
    elif text.count(":") == 1:
        text = text.partition(":")[0]  # address:port
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


@lru_cache(maxsize=10_000)
def _site(address: _Address) -> str:
    return str(address) if address.version == 4 else str(ip_network((address, _IPV6_SITE), strict=False))
