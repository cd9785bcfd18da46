"""What the log says to Centrifugo's clients besides what is pushed: where a channel is, what was in it, what is new."""

from typing import TypeAlias

from events.log.log import EventLog
from notifier.channels import newest_of
from notifier.dialects.centrifugo.commands import REJECT_UNRECOVERED, History, Subscribe
from notifier.dialects.centrifugo.forms import publications
from notifier.dialects.centrifugo.replies import (
    BAD_REQUEST,
    NOT_AVAILABLE,
    UNRECOVERABLE_POSITION,
    Publications,
    Refused,
    Snapshot,
    Subscribed,
)
from notifier.form import Channel, is_stream
from notifier.history import PAGE
from notifier.history import History as Pages
from notifier.hub import Hub

# Types of events that somebody is not told.
Hidden: TypeAlias = frozenset[str]


class Reading:
    def __init__(self, hub: Hub, log: EventLog, pages: Pages) -> None:
        self._hub = hub
        self._log = log
        self._pages = pages

    async def begin(self, channel: Channel, wish: Subscribe) -> Subscribed:
        """Where a subscription begins: after what the client has, or after all that there is."""
        newest = await newest_of(channel, self._log, self._hub)
        epoch = str(self._hub.epoch)
        if not wish.recover:
            return Subscribed(epoch, newest)
        if wish.epoch in ("", epoch) and wish.offset <= newest:
            return Subscribed(epoch, wish.offset, was_recovering=True, recovered=True)
        if wish.flag & REJECT_UNRECOVERED:
            raise _unrecoverable(newest)
        return Subscribed(epoch, newest, was_recovering=True)

    async def history(self, channel: Channel, wish: History, hidden: Hidden) -> Publications:
        newest = await newest_of(channel, self._log, self._hub)
        epoch = str(self._hub.epoch)
        since = wish.since
        if since is not None and (since.epoch not in ("", epoch) or since.offset > newest):
            raise _unrecoverable(newest)
        limit = PAGE if wish.limit < 0 else min(wish.limit, PAGE)
        if wish.reverse:
            if not is_stream(channel):
                raise Refused(NOT_AVAILABLE, "Only a single stream can be read backwards.")
            last = newest if since is None else max(0, since.offset - 1)
            after = max(0, last - limit)
            limit = last - after
        else:
            after = 0 if since is None else since.offset
        page = await self._pages.first(limit, channel, after) if limit else []
        if wish.reverse:
            page.reverse()
        return Publications(publications(page, channel, hidden), epoch, newest)

    async def snapshot(self, channel: Channel, hidden: Hidden) -> Snapshot:
        """The newest event of a stream, and the place from which to follow on."""
        if not is_stream(channel):
            raise Refused(BAD_REQUEST, "A snapshot is of a single stream.")
        newest = await newest_of(channel, self._log, self._hub)
        page = await self._pages.first(1, channel, newest - 1) if newest else []
        shown = [event for event in page if event.type not in hidden]
        return Snapshot(shown[0] if shown else None, newest, str(self._hub.epoch))


def _unrecoverable(newest: int) -> Refused:
    detail = f"The position belongs to another log, or lies beyond the newest event, which is {newest}."
    return Refused(UNRECOVERABLE_POSITION, detail)
