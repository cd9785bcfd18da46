"""Where a service is: at one place, or at several, of which one may be lost."""

import asyncio
import random
from collections.abc import Sequence, Set
from urllib.parse import urlsplit

# How long a place that failed, or said that it can't, is asked only if no other can.
_REST_SECONDS = 2.0


class Place:
    __slots__ = ("_rests_until", "authority", "host", "open", "port")

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        assert place.hostname is not None
        assert place.port is not None
        self.authority = place.netloc.encode()
        self.host, self.port = place.hostname, place.port
        self.open = 0  # connections and tunnels
        self._rests_until = float("-inf")  # in the loop's time

    @property
    def rests(self) -> bool:
        return asyncio.get_running_loop().time() < self._rests_until

    def rest(self) -> None:
        self._rests_until = asyncio.get_running_loop().time() + _REST_SECONDS


class Places:
    def __init__(self, urls: Sequence[str]) -> None:
        self._places = [Place(url) for url in urls]

    @property
    def first(self) -> Place:
        return self._places[0]

    def in_turn(self, but: Set[Place]) -> list[Place]:
        """In the order in which to try them: whoever comes back after a restart gets the next ones."""
        places = [place for place in self._places if place not in but]
        return sorted(places, key=lambda place: (place.rests, place.open, random.random()))  # noqa: S311

    def any_but(self, place: Place) -> bool:
        """Whether another one can be asked."""
        return any(other is not place and not other.rests for other in self._places)
