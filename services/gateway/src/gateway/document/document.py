"""The document as it is now: services are asked again once in a while, and one that is away is known from before."""

import asyncio
from collections.abc import Mapping, Sequence

import aiohttp
import msgspec
from fastapi import FastAPI

from events.envelope import encode_json
from events.errors import Unavailable
from events.running.tasks import end
from gateway.document.merge import Document, merged
from gateway.upstreams import OWN, Routes

_GOOD_FOR, _RETRY_AFTER = 30.0, 1.0  # seconds
_PATIENCE = aiohttp.ClientTimeout(total=3.0)


class ApiDocument:
    def __init__(
        self, session: aiohttp.ClientSession, urls: Mapping[str, Sequence[str]], app: FastAPI, routes: Routes
    ) -> None:
        self._session = session
        self._urls = urls
        self._app = app
        self._routes = routes
        self._known: dict[str, Document] = {}
        self._encoded = b""
        self._ask_again_at = float("-inf")  # in the loop's time
        self._asking: asyncio.Task[None] | None = None

    async def current(self) -> bytes:
        """Nobody waits for services who need not: a document that is known is good while they are asked again."""
        now = asyncio.get_running_loop().time()
        if self._asking is None and now >= self._ask_again_at:
            self._asking = asyncio.create_task(self._ask())
        if not self._encoded and self._asking is not None:
            await asyncio.shield(self._asking)
        if not self._encoded:
            unknown = " and the ".join(sorted(self._urls.keys() - self._known.keys()))
            raise Unavailable(f"Not known yet, since it does not answer: the {unknown}.", headers={"Retry-After": "1"})
        return self._encoded

    async def close(self) -> None:
        if self._asking is not None:
            await end(self._asking)

    async def _ask(self) -> None:
        try:
            found = await asyncio.gather(*(self._of(places) for places in self._urls.values()))
            self._known |= {service: document for service, document in zip(self._urls, found, strict=True) if document}
            if self._urls.keys() <= self._known.keys():
                documents = {OWN: self._app.openapi()} | self._known
                self._encoded = encode_json(await asyncio.to_thread(merged, documents, self._routes))
        finally:
            self._asking = None
            pause = _GOOD_FOR if self._encoded else _RETRY_AFTER
            self._ask_again_at = asyncio.get_running_loop().time() + pause

    async def _of(self, places: Sequence[str]) -> Document | None:
        for url in places:
            try:
                async with self._session.get(f"{url.rstrip('/')}/openapi.json", timeout=_PATIENCE) as answer:
                    if answer.status == 200:
                        return msgspec.json.decode(await answer.read(), type=Document)
            except (aiohttp.ClientError, TimeoutError, ValueError):
                continue
        return None
