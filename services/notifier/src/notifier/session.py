"""What one open socket does: it follows channels and obeys commands, one step after the other.

A task works only while there is something to do, so that an idle socket costs nothing but its memory.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Protocol

from events.database import database_gone
from events.telemetry import Telemetry
from notifier.form import Channel, Form, is_stream
from notifier.frames import CloseCode, ping_frame
from notifier.history import History
from notifier.hub import Hub
from notifier.pages import Pages
from notifier.subscription import Subscription

# Commands that wait to be obeyed, and their length: of a client that sends faster, no more are read for now.
WAITING_COMMANDS = 64
WAITING_CHARACTERS = 64 * 1024

# How long one session works until everybody else has a turn.
_TURN_SECONDS = 0.005

_PING = ping_frame()
_CODES: Mapping[CloseCode, CloseCode] = {}

_RETRY_FIRST_SECONDS = 0.1
_RETRY_LONGEST_SECONDS = 2.0


class Outlet(Protocol):
    """The connection, as far as a session needs it."""

    @property
    def writable(self) -> bool: ...
    def write(self, frame: bytes) -> bool:
        """Write if `writable`; whether it was."""

    def send(self, frame: bytes) -> None:
        """Write, room or not."""

    def fail(self, error: Exception) -> None:
        """Close: a `Violation` says why; else something of ours broke, and the client comes again."""


# A client's command, in its dialect.
Obey = Callable[[str], Awaitable[None]]


class Following:
    """What all sessions of one notifier share."""

    def __init__(self, hub: Hub, history: History, telemetry: Telemetry) -> None:
        self.hub = hub
        self.pages = Pages(history)
        self.log = telemetry.log
        self.demoted = telemetry.counter(
            "millrace_notifier_demotions_total", "Times that a client was too slow to be told live."
        )
        self.caught_up = telemetry.counter(
            "millrace_notifier_catch_up_events_total", "Events read from the log for who was behind."
        )


class Session:
    __slots__ = (
        "_behind",
        "_closed",
        "_commands",
        "_following",
        "_outlet",
        "_subscriptions",
        "_waiting",
        "_working",
        "codes",
        "left",
        "obey",
        "ping",
        "roomy",
        "separator",
    )

    def __init__(self, following: Following, outlet: Outlet) -> None:
        self._following = following
        self._outlet = outlet
        self._subscriptions: dict[Channel, Subscription] = {}
        self._behind: list[Subscription] = []
        self._commands: deque[str] = deque()
        self._waiting = 0  # characters of these
        self._working: asyncio.Task[None] | None = None
        self._closed = False
        self.obey: Obey | None = None  # set by the dialect when it begins
        # A dialect may change these when it begins.
        self.ping = _PING
        self.codes: Mapping[CloseCode, CloseCode] = _CODES  # what the dialect says instead
        self.separator: str | None = None  # of the commands in a message, where there may be several
        self.roomy: Callable[[], None] | None = None  # called when it can take messages again
        self.left: Callable[[], None] | None = None  # called when the session is over

    def __len__(self) -> int:
        return len(self._subscriptions)

    def __contains__(self, channel: Channel) -> bool:
        return channel in self._subscriptions

    @property
    def behind(self) -> int:
        """How many channels are told from the log for now."""
        return len(self._behind)

    def follow(self, channel: Channel, cursor: int | None, form: Form, *, conflate: bool = False) -> int:
        """Tell what comes after the cursor, which the log must have reached; None where it is a position for whatever
        comes from now on. Returns the cursor.

        `conflate` if the client asks for it: of progress that is due, it is told only the latest.
        """
        assert cursor is not None or not is_stream(channel)
        hub = self._following.hub
        begin = hub.position if cursor is None else cursor
        room = hub.enter(channel)
        subscription = Subscription(room, begin, form, self._outlet, self._fell_behind, conflate=conflate)
        subscription.alone = not self._subscriptions
        if len(self._subscriptions) == 1:  # of several none is
            next(iter(self._subscriptions.values())).alone = False
        self._subscriptions[channel] = subscription
        if cursor is not None or not subscription.go_live():
            self._behind.append(subscription)
            self._work()
        return begin

    def unfollow(self, channel: Channel) -> bool:
        """Whether it was followed."""
        subscription = self._subscriptions.pop(channel, None)
        if subscription is None:
            return False
        self._following.hub.leave(subscription.end())
        if subscription in self._behind:
            self._behind.remove(subscription)
        return True

    def say(self, frame: bytes) -> None:
        """Something that is no event."""
        self._outlet.send(frame)

    def fail(self, error: Exception) -> None:
        """End it; a `Violation` tells the client why."""
        self._outlet.fail(error)

    def commands_of(self, message: str) -> Sequence[str]:
        return (message,) if self.separator is None else message.split(self.separator)

    def received(self, commands: Sequence[str]) -> bool:
        """Obey them in their turn. False if no more may come until it is `roomy` again."""
        self._commands.extend(commands)
        self._waiting += sum(map(len, commands))
        self._work()
        return len(self._commands) < WAITING_COMMANDS and self._waiting < WAITING_CHARACTERS

    def resume(self) -> None:
        """The connection takes bytes again."""
        self._work()

    def close(self) -> None:
        self._closed = True
        if self.left is not None:
            self.left()
        for channel in list(self._subscriptions):
            self.unfollow(channel)
        if self._working is not None:
            self._working.cancel()

    def _fell_behind(self, subscription: Subscription) -> None:
        self._following.demoted.inc()
        self._behind.append(subscription)
        self._work()

    def _work(self) -> None:
        if self._working is None and self._may_work():
            self._working = asyncio.create_task(self._work_off())

    def _may_work(self) -> bool:
        return not self._closed and self._outlet.writable and bool(self._commands or self._behind)

    async def _work_off(self) -> None:
        pause = _RETRY_FIRST_SECONDS
        until = monotonic() + _TURN_SECONDS
        try:
            while self._may_work():
                try:
                    await self._step()
                    if monotonic() > until:
                        await asyncio.sleep(0)
                        until = monotonic() + _TURN_SECONDS
                    pause = _RETRY_FIRST_SECONDS
                except Exception as error:
                    if not database_gone(error):
                        raise
                    # The client waits, and misses nothing.
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                    pause = min(pause * 2, _RETRY_LONGEST_SECONDS)
        except Exception as error:
            self._outlet.fail(error)
        finally:
            self._working = None

    async def _step(self) -> None:
        if self._commands:
            assert self.obey is not None
            command = self._commands.popleft()
            self._waiting -= len(command)
            await self.obey(command)
            if self.roomy is not None and self._has_room():
                self.roomy()
        else:
            await self._catch_up(self._behind[0])

    def _has_room(self) -> bool:
        return len(self._commands) <= WAITING_COMMANDS // 2 and self._waiting <= WAITING_CHARACTERS // 2

    async def _catch_up(self, subscription: Subscription) -> None:
        """Tell one page of what it is behind; then it is live, or waits for its next turn."""
        page = await subscription.read(self._following.pages)
        if subscription not in self._behind:
            return  # unfollowed meanwhile
        self._behind.remove(subscription)
        told_all = subscription.tell(page)
        self._following.caught_up.inc(page.events)
        if not (told_all and page.last and subscription.go_live()):
            self._behind.append(subscription)
