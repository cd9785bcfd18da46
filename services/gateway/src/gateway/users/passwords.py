"""Passwords at rest: argon2id, on a few threads of its own, so that a flood of logins takes neither the loop nor the
memory."""

import asyncio
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar
from unicodedata import normalize

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from events.errors import Unavailable
from events.telemetry import Telemetry

T = TypeVar("T")

# OWASP's first choice of what costs an attacker most for 19 MiB.
_MEMORY_KIB, _PASSES, _LANES = 19 * 1024, 2, 1


class PasswordsBusy(Unavailable):
    code, title = "passwords_busy", "Too many logins at once"


class Passwords:
    def __init__(self, telemetry: Telemetry, *, threads: int, queue: int) -> None:
        self._hasher = PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=_LANES)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._free = threading.BoundedSemaphore(threads + queue)
        self._of_nobody = self._hasher.hash(secrets.token_urlsafe(16))
        self._hashed = telemetry.counter(
            "millrace_passwords_hashed_total",
            "Passwords hashed, or refused for want of a thread.",
            {"outcome": ["hashed", "refused"]},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        return await self._in_thread(lambda: self._hasher.hash(_normal(password)))

    async def fits(self, kept: str | None, password: str) -> bool:
        """Whether it is the password that was kept. Where none was kept, saying so takes as long."""
        return await self._in_thread(lambda: self._verify(kept or self._of_nobody, password)) and kept is not None

    def outdated(self, kept: str) -> bool:
        """Whether it was hashed with other parameters than today's."""
        return self._hasher.check_needs_rehash(kept)

    def _verify(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, _normal(password))
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if not self._free.acquire(blocking=False):
            self._hashed.labels("refused").inc()
            raise PasswordsBusy("Too many people log in at this moment. Try again.", headers={"Retry-After": "1"})
        self._hashed.labels("hashed").inc()
        begun = self._threads.submit(work)
        begun.add_done_callback(lambda _: self._free.release())  # not when we are cancelled: the thread goes on
        return await asyncio.wrap_future(begun)


def _normal(password: str) -> bytes:
    """The same for every keyboard that the same characters are typed on."""
    return normalize("NFKC", password).encode()
