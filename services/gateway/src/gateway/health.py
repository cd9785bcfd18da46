"""Whether the services and what they stand on answer, as the services see it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

PARTS = ("broker", "database", "storage")
_GOOD_FOR = 0.5  # seconds
_PATIENCE = aiohttp.ClientTimeout(total=3.0)


class Health:
    def __init__(self, session: aiohttp.ClientSession, urls: Mapping[str, Sequence[str]]) -> None:
        self._session = session
        self._urls = urls
        self._found: dict[str, list[dict[str, Any]]] = {}
        self._found_at = float("-inf")  # in the loop's time
        self._looking = asyncio.Lock()

    async def parts(self) -> tuple[dict[str, str], list[str]]:
        """A part is ok if some service has it and none misses it. And the services of which nobody answers: they vouch
        for nothing."""
        async with self._looking:  # however many ask
            if asyncio.get_running_loop().time() - self._found_at > _GOOD_FOR:
                self._found = await self._ask_all("/readyz")
                self._found_at = asyncio.get_running_loop().time()
        answers = [answer for of_one in self._found.values() for answer in of_one]
        seen = {part: {states[part] for states in answers if part in states} for part in PARTS}
        parts = {part: "ok" if states == {"ok"} else "down" for part, states in seen.items()}
        return parts, [service for service in self._urls if not any(self._found[service])]

    async def details(self) -> dict[str, dict[str, Any]]:
        """What each service says of itself; if it is at several places, under a name for each."""
        answers = await self._ask_all("/statusz")
        return {
            service if number == 0 else f"{service}-{number + 1}": answer or {"state": "down"}
            for service, of_one in answers.items()
            for number, answer in enumerate(of_one)
        }

    async def _ask_all(self, path: str) -> dict[str, list[dict[str, Any]]]:
        asked = [(service, url.rstrip("/") + path) for service, places in self._urls.items() for url in places]
        answers = await asyncio.gather(*(self._ask(url) for _, url in asked))
        found: dict[str, list[dict[str, Any]]] = {service: [] for service in self._urls}
        for (service, _), answer in zip(asked, answers, strict=True):
            found[service].append(answer)
        return found

    async def _ask(self, url: str) -> dict[str, Any]:
        try:
            async with self._session.get(url, timeout=_PATIENCE) as answer:
                return dict(await answer.json())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return {}
