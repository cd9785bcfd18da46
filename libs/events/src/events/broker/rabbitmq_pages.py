"""Many messages to RabbitMQ at once: written in a few pieces, and then all confirms awaited together.

aio-pika's `publish` takes a lock, some futures, pamqp's encoding and a drain of the socket for each message, and costs
more than RabbitMQ's own work. A page shares the channel, its delivery tags and its confirms with such single messages:
only the way to the channel's queue of what is to be written is its own.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import takewhile

from aiormq.abc import AbstractChannel, ChannelFrame
from aiormq.channel import Channel
from aiormq.exceptions import AMQPError, DeliveryError, PublishError

from events.broker.amqp_frames import PublishFrames
from events.broker.broker import Message
from events.errors import PartlyConfirmed

# Written, and the socket drained, before the next: as much of a page as is in memory twice.
_PIECE_BYTES = 128 * 1024

_Confirmation = asyncio.Future[object]


class Page:
    """Messages that are being published on a channel, in their order."""

    def __init__(self, channel: AbstractChannel, patience: float) -> None:
        assert isinstance(channel, Channel)
        self._channel = channel
        self._patience = patience  # seconds without any sign of the broker
        self._confirmations: list[_Confirmation] = []

    async def publish(self, exchange: str, messages: Sequence[Message], *, mandatory: bool, persistent: bool) -> None:
        """Until all are confirmed. Raise `PartlyConfirmed`."""
        frames = PublishFrames(
            self._channel.number,
            exchange,
            mandatory=mandatory,
            persistent=persistent,
            most=self._channel.max_content_size,
        )
        closed = self._channel.closing
        try:
            for piece, payload in _pieces(messages, frames):
                await self._write(piece if mandatory else (), len(piece), payload, closed)
            for confirmation in self._confirmations:
                await self._settled(confirmation, closed)
                confirmation.result()
        except PublishError:
            raise self._partly(f"No queue is bound to {exchange} for one of the messages.") from None
        except DeliveryError as refused:
            raise self._partly(f"RabbitMQ refused a message: {refused}.") from refused
        except (AMQPError, OSError, TimeoutError, RuntimeError) as gone:
            raise self._partly(f"RabbitMQ did not confirm: {gone!r}.") from gone
        finally:
            closed.cancel()
            for confirmation in self._confirmations:
                if not confirmation.cancel() and not confirmation.cancelled():
                    confirmation.exception()  # it has been told with the first one that failed

    async def _write(
        self, returnable: Sequence[Message], count: int, payload: bytes, closed: asyncio.Future[object]
    ) -> None:
        channel, loop = self._channel, asyncio.get_running_loop()
        drained = loop.create_future()
        async with asyncio.timeout(self._patience), channel.lock:
            await channel.write_queue.put(ChannelFrame(payload, should_close=False, drain_future=drained))
            # Counted in the same breath as they were handed over: so our tags are RabbitMQ's, and no confirm is missed.
            first = channel.delivery_tag + 1
            channel.delivery_tag += count
            for tag in range(first, first + count):
                confirmation = channel.confirmations[tag] = loop.create_future()
                self._confirmations.append(confirmation)
            for tag, message in enumerate(returnable, first):
                channel.message_id_delivery_tag[message.id] = tag
                channel.confirmations[tag].add_done_callback(partial(self._forget, message.id, tag))
        await self._settled(drained, closed)

    def _forget(self, message_id: str, tag: int, _: _Confirmation) -> None:
        """A return that comes after we gave up finds nobody. By then the message may be on its way again."""
        tags = self._channel.message_id_delivery_tag
        if tags.get(message_id) == tag:
            del tags[message_id]

    async def _settled(self, future: asyncio.Future[object], closed: asyncio.Future[object]) -> None:
        if future.done():
            return
        await asyncio.wait((future, closed), timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
        if closed.done():
            raise ConnectionError(f"the channel was closed: {None if closed.cancelled() else closed.exception()!r}")
        if not future.done():
            raise TimeoutError(f"nothing was heard of it for {self._patience:.0f} s")

    def _partly(self, why: str) -> PartlyConfirmed:
        return PartlyConfirmed(why, confirmed=sum(1 for _ in takewhile(_is_confirmed, self._confirmations)))


def _is_confirmed(confirmation: _Confirmation) -> bool:
    return confirmation.done() and not confirmation.cancelled() and confirmation.exception() is None


def _pieces(messages: Iterable[Message], frames: PublishFrames) -> Iterator[tuple[list[Message], bytes]]:
    piece: list[Message] = []
    written = bytearray()
    for message in messages:
        piece.append(message)
        for frame in frames.of(message):
            written += frame
        if len(written) >= _PIECE_BYTES:
            yield piece, bytes(written)
            piece, written = [], bytearray()
    if piece:
        yield piece, bytes(written)
