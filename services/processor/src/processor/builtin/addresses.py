"""Which addresses a call may go to: those of the public internet, and on demand those of a private network.

IPv6 addresses are public only within what is handed out as such, so one that wraps an IPv4 address (mapped, NAT64,
6to4, Teredo) is refused whatever it wraps. The tables are ours because those of `ipaddress` change with its version.
"""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias

_Networks: TypeAlias = tuple[IPv4Network | IPv6Network, ...]

_PRIVATE: _Networks = tuple(
    map(ip_network, ("10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"))
)

# Where clouds tell their machines secrets, although the address looks like others.
_METADATA: _Networks = tuple(map(ip_network, ("168.63.129.16/32", "fd00:ec2::/32", "fd20:ce::/32")))

_PUBLIC: _Networks = (ip_network("0.0.0.0/0"), ip_network("2000::/3"))

_NOT_PUBLIC: _Networks = (
    *_PRIVATE,
    *map(
        ip_network,
        (
            "0.0.0.0/8",  # this host
            "100.64.0.0/10",  # behind a provider's NAT
            "169.254.0.0/16",  # link-local
            "192.0.0.0/24",  # protocols
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays of 6to4
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/3",  # multicast, reserved, broadcast
            "2001::/23",  # protocols: Teredo, ORCHID
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "3fff::/20",  # documentation
        ),
    ),
)


def may_be_called(address: str, *, private: bool) -> bool:
    """Whether a connection may go there. `private` allows loopback and private networks too."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if getattr(parsed, "scope_id", None) is not None or _within(_METADATA, parsed):
        return False
    return (private and _within(_PRIVATE, parsed)) or (_within(_PUBLIC, parsed) and not _within(_NOT_PUBLIC, parsed))


def _within(networks: _Networks, address: object) -> bool:
    return any(address in network for network in networks)
