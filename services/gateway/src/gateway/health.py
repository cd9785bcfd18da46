"""Whether the shared infrastructure answers, as the services see it."""

import asyncio
from collections.abc import Mapping

import aiohttp

PARTS = ("broker", "database", "storage")
_SECONDS = 3.0


class Health:
    """Asks every service's `/readyz`."""

    def __init__(self, session: aiohttp.ClientSession, urls: Mapping[str, str]) -> None:
        self._session = session
        self._urls = urls

    async def parts(self) -> dict[str, str]:
        """A part is ok if some service has it and none misses it. Who does not answer vouches for nothing."""
        found = await asyncio.gather(*(self._ask(url) for url in self._urls.values()))
        seen = {part: {states[part] for states in found if part in states} for part in PARTS}
        return {part: "ok" if states == {"ok"} else "down" for part, states in seen.items()}

    async def _ask(self, url: str) -> dict[str, str]:
        try:
            async with self._session.get(
                f"{url.rstrip('/')}/readyz", timeout=aiohttp.ClientTimeout(total=_SECONDS)
            ) as answer:
                return dict(await answer.json())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return {}
