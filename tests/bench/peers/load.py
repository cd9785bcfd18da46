"""How both peers' programs make load and say what they found. They run without Millrace's packages."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeVar

Candidate = TypeVar("Candidate")


@dataclass(slots=True)
class Started:
    """When the steps ran, by the number that they were given."""

    at: dict[int, float] = field(default_factory=dict)
    one_more: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, number: int) -> None:
        self.at[number] = perf_counter()
        self.one_more.set()

    async def until(self, found: Callable[[], bool]) -> None:
        while not found():
            self.one_more.clear()
            await self.one_more.wait()


async def calls_per_s(call: Callable[[int], Awaitable[object]], times: int, at_once: int) -> float:
    """Calls a second while `at_once` callers share `times` calls, each of which gets its number."""
    numbers = iter(range(times))

    async def caller() -> None:
        for number in numbers:
            await call(number)

    began = perf_counter()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    return times / (perf_counter() - began)


async def fastest(candidates: Sequence[Candidate], per_s: Callable[[Candidate], Awaitable[float]]) -> Candidate:
    """The candidate with the highest rate, each tried once."""
    rates = [await per_s(candidate) for candidate in candidates]
    return candidates[rates.index(max(rates))]


def tell(settings: Mapping[str, object], figures: Mapping[str, float]) -> None:
    """The one line that the benchmark reads."""
    print(json.dumps({"settings": settings, "figures": figures}))
