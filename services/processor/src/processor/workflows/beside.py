"""Documents are read, checked and planned beside the loop: one of a megabyte takes seconds of Python, which hands the
interpreter over every few milliseconds."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple
from weakref import WeakValueDictionary

SHORT = 4_096  # bytes of a document that is done with before a thread would have begun

Given = TypeVarTuple("Given")
Found = TypeVar("Found")


class Beside:
    """One thing at a time for each tenant, so that none keeps the others waiting."""

    def __init__(self, *, threads: int = 2) -> None:
        self._threads = ThreadPoolExecutor(threads, "documents")  # each slows the loop down
        self._of_tenant: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def do(self, tenant: str, work: Callable[[*Given], Found], *given: *Given) -> Found:
        turn = self._of_tenant.setdefault(tenant, asyncio.Lock())
        async with turn:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)
