"""Whether a service can work, and how it is doing."""

from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from time import perf_counter
from typing import Any

from events.database import database_gone
from events.errors import MillraceError
from events.lifecycle import Loops, Parts

# What a service can do without for a while: a 202, a read and a frame need no broker.
_SPARED = frozenset({"broker"})

Facts = Callable[[], Awaitable[Mapping[str, object]]]


class Status:
    def __init__(
        self, parts: Parts, running: Loops | None, draining: Callable[[], bool], facts: Facts | None = None
    ) -> None:
        self._service = parts.name
        self._parts: Mapping[str, Callable[[], Awaitable[object]]] = {
            "broker": parts.broker.ping,
            "database": lambda: parts.pool.fetchval("SELECT 1"),
            "storage": parts.blobs.ping,
        }
        self._running = running
        self._draining = draining
        self._facts = facts
        self._began = perf_counter()

    async def ready(self) -> tuple[bool, dict[str, str]]:
        """Whether it can work, and what it has and misses."""
        found = {name: "ok" if await _answers(ask) else "down" for name, ask in self._parts.items()}
        if self._draining():
            found["service"] = "down"
        found |= {f"loop.{name}": "down" for name in self._halted}
        return all(state == "ok" or name in _SPARED for name, state in found.items()), found

    async def report(self) -> dict[str, Any]:
        """The same with figures, for an operator."""
        return {
            "state": "draining" if self._draining() else "ok",
            "version": version_of(self._service),
            "uptime_seconds": round(perf_counter() - self._began, 1),
            "parts": {name: await _timed(ask) for name, ask in self._parts.items()},
            "halted_loops": sorted(self._halted),
            **await self._own_facts(),
        }

    @property
    def _halted(self) -> Mapping[str, object]:
        return self._running.halted if self._running is not None else {}

    async def _own_facts(self) -> Mapping[str, object]:
        try:
            return {} if self._facts is None else await self._facts()
        except Exception as raised:
            if _expected(raised):
                return {}  # the parts say why
            raise


def version_of(service: str) -> str:
    return version(f"millrace-{service}")


async def _timed(ask: Callable[[], Awaitable[object]]) -> dict[str, object]:
    began = perf_counter()
    state = "ok" if await _answers(ask) else "down"
    return {"state": state, "latency_ms": round(1000 * (perf_counter() - began), 2)}


async def _answers(ask: Callable[[], Awaitable[object]]) -> bool:
    try:
        await ask()
    except Exception as raised:
        if _expected(raised):
            return False
        raise
    return True


def _expected(raised: Exception) -> bool:
    return isinstance(raised, MillraceError) or database_gone(raised)
