"""Whether a client is read from: not while whoever takes its bytes is full, and not while it is made to wait."""

import asyncio
from collections.abc import Callable

from gateway.wire.nothing import nothing


class Intake:
    def __init__(self, transport: asyncio.Transport, go_on: Callable[[], None]) -> None:
        self.paused = False  # whoever takes the body is full, or not there yet
        self._transport = transport
        self._go_on = go_on  # called when a wait is over
        self._waiting: asyncio.TimerHandle | None = None  # since it came in too small pieces
        self._stopped = False  # for one of these reasons

    @property
    def waits(self) -> bool:
        return self._waiting is not None

    def pause(self) -> None:
        self.paused = True
        self._read_or_not()

    def resume(self) -> None:
        self.paused = False
        self._read_or_not()

    def wait(self, seconds: float) -> None:
        self._waiting = asyncio.get_running_loop().call_later(seconds, self._waited)
        self._read_or_not()

    def wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def close(self) -> None:
        """Let go of whoever reads."""
        self.wait_no_more()
        self._go_on = nothing

    def _waited(self) -> None:
        self._waiting = None
        self._go_on()
        self._read_or_not()

    def _read_or_not(self) -> None:
        stop = self.paused or self._waiting is not None
        if stop != self._stopped and not self._transport.is_closing():
            self._stopped = stop
            if stop:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()
