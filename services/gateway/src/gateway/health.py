"""Whether the services and what they stand on answer, as the services see it."""

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp

PARTS = ("broker", "database", "storage")
_GOOD_FOR = 0.5  # seconds
_PATIENCE = aiohttp.ClientTimeout(total=3.0)


class Health:
    def __init__(self, session: aiohttp.ClientSession, urls: Mapping[str, str]) -> None:
        self._session = session
        self._urls = urls
        self._found: dict[str, dict[str, Any]] = {}
        self._found_at = float("-inf")  # in the loop's time
        self._looking = asyncio.Lock()

    async def parts(self) -> tuple[dict[str, str], list[str]]:
        """A part is ok if some service has it and none misses it. And the services that do not answer: they vouch for
        nothing."""
        async with self._looking:  # however many ask
            if asyncio.get_running_loop().time() - self._found_at > _GOOD_FOR:
                self._found = await self._ask_all("/readyz")
                self._found_at = asyncio.get_running_loop().time()
        answers = self._found
        seen = {part: {states[part] for states in answers.values() if part in states} for part in PARTS}
        parts = {part: "ok" if states == {"ok"} else "down" for part, states in seen.items()}
        return parts, [service for service in self._urls if not answers[service]]

    async def details(self) -> dict[str, dict[str, Any]]:
        """What each service says of itself."""
        answers = await self._ask_all("/statusz")
        return {service: answer or {"state": "down"} for service, answer in answers.items()}

    async def _ask_all(self, path: str) -> dict[str, dict[str, Any]]:
        found = await asyncio.gather(*(self._ask(url.rstrip("/") + path) for url in self._urls.values()))
        return dict(zip(self._urls, found, strict=True))

    async def _ask(self, url: str) -> dict[str, Any]:
        try:
            async with self._session.get(url, timeout=_PATIENCE) as answer:
                return dict(await answer.json())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return {}
