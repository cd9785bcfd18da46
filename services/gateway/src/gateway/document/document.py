"""The document as it is now: services are asked again once in a while, and one that is away is known from before."""

import asyncio
from collections.abc import Mapping

import aiohttp
import msgspec
from fastapi import FastAPI

from events.envelope import encode_json
from events.errors import Unavailable
from gateway.document.merge import Document, merged
from gateway.upstreams import OWN, Routes

_GOOD_FOR = 30.0  # seconds
_PATIENCE = aiohttp.ClientTimeout(total=3.0)


class ApiDocument:
    def __init__(self, session: aiohttp.ClientSession, urls: Mapping[str, str], app: FastAPI, routes: Routes) -> None:
        self._session = session
        self._urls = urls
        self._app = app
        self._routes = routes
        self._known: dict[str, Document] = {}
        self._encoded = b""
        self._asked = float("-inf")
        self._asking = asyncio.Lock()

    async def current(self) -> bytes:
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if now - self._asked > _GOOD_FOR:
                await self._ask()
                self._asked = now
        return self._encoded

    async def _ask(self) -> None:
        found = await asyncio.gather(*(self._of(url) for url in self._urls.values()))
        self._known |= {service: document for service, document in zip(self._urls, found, strict=True) if document}
        if unknown := self._urls.keys() - self._known.keys():
            raise Unavailable(
                f"Not known yet, since it does not answer: the {' and the '.join(sorted(unknown))}.",
                headers={"Retry-After": "1"},
            )
        documents = {OWN: self._app.openapi()} | self._known
        self._encoded = encode_json(await asyncio.to_thread(merged, documents, self._routes))

    async def _of(self, url: str) -> Document | None:
        try:
            async with self._session.get(f"{url.rstrip('/')}/openapi.json", timeout=_PATIENCE) as answer:
                return None if answer.status != 200 else msgspec.json.decode(await answer.read(), type=Document)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
