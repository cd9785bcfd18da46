"""How both peers' programs make load and say what they found. They run without Millrace's packages."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import TypeVar

Candidate = TypeVar("Candidate")


async def calls_per_s(call: Callable[[int], Awaitable[object]], times: int, at_once: int) -> float:
    """Calls a second while `at_once` callers share `times` calls, each of which gets its number."""
    numbers = iter(range(times))

    async def caller() -> None:
        for number in numbers:
            await call(number)

    began = perf_counter()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    return times / (perf_counter() - began)


async def fastest(
    candidates: Sequence[Candidate], per_s: Callable[[Candidate], Awaitable[float]]
) -> Candidate:
    """The candidate with the highest rate, each tried once."""
    rates = [await per_s(candidate) for candidate in candidates]
    return candidates[rates.index(max(rates))]


def tell(settings: Mapping[str, object], figures: Mapping[str, float]) -> None:
    """The one line that the benchmark reads."""
    print(json.dumps({"settings": settings, "figures": figures}))
