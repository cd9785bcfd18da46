"""What goes out on a client's connection: one answer after the other, and how long the client may leave one unread."""

import asyncio
from collections.abc import Sequence

from gateway.wire.answers import CONTINUE, Answer
from gateway.wire.deadline import Deadline


class Answering:
    def __init__(self, transport: asyncio.Transport, unread_seconds: float) -> None:
        self.current: Answer | None = None
        self.full = False  # the client takes no more for now
        self._transport = transport
        self._unsent = b""
        self._unread_seconds = unread_seconds  # that the client may take no more
        self._unread = Deadline(asyncio.get_running_loop())

    def expect(self, unread_seconds: float) -> None:
        """The next request has come."""
        self._unread_seconds = unread_seconds

    def go_on(self) -> None:
        """The client's body is wanted."""
        if self.current is None and not self._transport.is_closing():
            self._transport.write(CONTINUE)

    def begin(self, answer: Answer) -> None:
        """The head goes out with what is sent next, be it nothing: each write is a system call."""
        self.current, self._unsent = answer, answer.head

    def send(self, payload: Sequence[bytes]) -> None:
        assert self.current is not None
        self._write(self.current.encode(payload))

    def end(self) -> Answer:
        assert self.current is not None
        answer = self.current
        self._write(answer.end())
        self.current = None
        return answer

    def cut_off(self) -> None:
        """End in the middle of an answer, so that it can't be taken for whole."""
        assert self.current is not None
        if self.current.until_close:
            self._transport.abort()  # a regular end would look like the answer's
        else:
            self._transport.close()

    def allow_unread(self, seconds: float) -> None:
        self._unread_seconds = seconds
        if self.full:
            self._unread.start(seconds, self._transport.abort)

    def pause(self) -> None:
        self.full = True
        self._unread.start(self._unread_seconds, self._transport.abort)

    def resume(self) -> None:
        self.full = False
        self._unread.stop()

    def close(self) -> None:
        self._unread.close()

    def _write(self, pieces: Sequence[bytes]) -> None:
        if self._unsent:
            pieces, self._unsent = (self._unsent, *pieces), b""
        if pieces and not self._transport.is_closing():
            self._transport.writelines(pieces)
