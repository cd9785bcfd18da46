"""Which hosts a call may name: those that the operator's patterns allow, in the one spelling that we accept."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated
from urllib.parse import quote

from pydantic import AfterValidator
from yarl import URL

from processor.step import StepError

_LONGEST_URL = 8_000  # characters; servers take no more
_LONGEST_HOST = 253
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_HOST = r"(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]+)(?::(?P<port>[1-9][0-9]{0,4}))?"
_FLAGS = re.IGNORECASE | re.ASCII  # without ASCII, some letters that are none of ours would match by their case
_PATTERN = re.compile(rf"(?P<any>\*\.)?{_HOST}", _FLAGS)
_URL = re.compile(rf"(?P<scheme>https?)://{_HOST}(?P<rest>(?:[/?][^\x00-\x1f\x7f\\#]*)?)", _FLAGS)
_VERBATIM = "!$%&'()*+,/:;=?@[]"  # beside letters, digits and `_.-~`: what a path or query may have as it is
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    url: URL
    host: str  # lower case; an IPv6 address in brackets
    port: int

    @property
    def literal(self) -> str | None:
        """The address, if the URL has one in place of a name."""
        if self.host.startswith("["):
            return self.host[1:-1]
        return self.host if _NUMBER.fullmatch(self.host.rpartition(".")[2]) else None


@dataclass(frozen=True, slots=True)
class HostPattern:
    host: str
    subdomains: bool  # all that end in the host, without the host itself
    port: int | None  # None for the scheme's own

    @classmethod
    def parse(cls, text: str) -> "HostPattern":
        found = _PATTERN.fullmatch(text)
        try:
            if found is None:
                raise ValueError
            return cls(_normal_host(found["host"]), bool(found["any"]), _port(found["port"]))
        except ValueError:
            raise ValueError(
                f"{text!r} is no host, such as api.example.com, *.example.com or example.com:8443"
            ) from None

    def allows(self, target: Target) -> bool:
        port = _PORTS[target.url.scheme] if self.port is None else self.port
        named = target.host.endswith(f".{self.host}") if self.subdomains else target.host == self.host
        return named and target.port == port


def _checked(text: str) -> str:
    HostPattern.parse(text)
    return text


PatternText = Annotated[str, AfterValidator(_checked)]


def read_url(text: str, allowed: Iterable[HostPattern]) -> Target:
    """What to call. A URL that two readers could understand in two ways is refused, and no refusal repeats it."""
    target = _target(text)
    if not any(pattern.allows(target) for pattern in allowed):
        raise StepError(
            "host_not_allowed", f"The operator has not allowed calls to {target.host} at port {target.port}."
        )
    return target


def _target(text: str) -> Target:
    try:
        found = _URL.fullmatch(text)
        if found is None or len(text) > _LONGEST_URL:
            raise ValueError
        scheme, host = found["scheme"].lower(), _normal_host(found["host"])
        port = _port(found["port"]) or _PORTS[scheme]
        path = quote(found["rest"], safe=_VERBATIM)
        at = "" if port == _PORTS[scheme] else f":{port}"
        url = URL(f"{scheme}://{host}{at}{path if path.startswith('/') else f'/{path}'}", encoded=True)
        if (url.raw_host, url.port) != (host.strip("[]"), port):  # the library that connects reads it otherwise
            raise ValueError
        return Target(url, host, port)
    except ValueError:
        raise StepError(
            "invalid_url",
            "The URL must be http:// or https://, a host in ASCII and a path, without credentials, fragment, "
            "backslashes or control characters.",
        ) from None


def _normal_host(text: str) -> str:
    """Raises ValueError for what is neither a name nor an address in its usual form."""
    if text.startswith("["):
        return f"[{IPv6Address(text[1:-1])}]"
    host = text.lower()
    labels = host.split(".")
    if len(host) > _LONGEST_HOST or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError
    # Resolvers read 2130706433, 0x7f.1 and 0177.0.0.1 as addresses.
    return str(IPv4Address(host)) if _NUMBER.fullmatch(labels[-1]) else host


def _port(text: str | None) -> int | None:
    if text is not None and int(text) > 65_535:
        raise ValueError
    return None if text is None else int(text)
