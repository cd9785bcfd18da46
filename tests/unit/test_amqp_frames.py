"""The frames that we write ourselves, beside those of the library for it."""

from typing import Any

import pytest
from aiormq.abc import ChannelFrame
from hypothesis import example, given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from events.broker.amqp_frames import PublishFrames
from events.broker.broker import Message

MOST = 100  # bytes in a body's frame

_names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
_messages = st.builds(
    Message,
    id=_names,
    body=st.binary(max_size=3 * MOST + 1),
    routing_key=_names,
    headers=st.dictionaries(_names, st.text(st.characters(exclude_categories=["Cs"]), max_size=500), max_size=3),
)


def by_the_library(message: Message, exchange: str, *, channel: int, mandatory: bool, persistent: bool) -> bytes:
    properties = commands.Basic.Properties(
        message_id=message.id,
        content_type="application/json",
        headers=dict(message.headers),
        delivery_mode=2 if persistent else 1,
    )
    frames: list[Any] = [
        commands.Basic.Publish(exchange=exchange, routing_key=message.routing_key, mandatory=mandatory),
        ContentHeader(properties=properties, body_size=len(message.body)),
        *(ContentBody(message.body[begin : begin + MOST]) for begin in range(0, len(message.body), MOST)),
    ]
    return ChannelFrame.marshall(channel, frames).payload


@given(_messages, st.integers(1, 2047), st.booleans(), st.booleans())
@example(Message("m-1", b"", "a.b", {}), 1, False, True)
@example(Message("m-1", b"x" * 2 * MOST, "a.b", {"epoch": "ü" * 300}), 1, True, True)
def test_our_frames_are_the_librarys_byte_for_byte(
    message: Message, channel: int, mandatory: bool, persistent: bool
) -> None:
    ours = PublishFrames(channel, "millrace.events", mandatory=mandatory, persistent=persistent, most=MOST)
    theirs = by_the_library(message, "millrace.events", channel=channel, mandatory=mandatory, persistent=persistent)
    for _ in range(2):  # the second time by what it remembers of the routing key
        assert b"".join(ours.of(message)) == theirs


@pytest.mark.parametrize("message", [Message("m-1", b"", "k" * 256), Message("ü" * 128, b"", "key")])
def test_a_name_that_does_not_fit_is_refused_before_anything_is_written(message: Message) -> None:
    """Cut off, it would be another one; with a wrong length, all that comes after it would be read wrongly."""
    frames = PublishFrames(1, "millrace.events", mandatory=False, persistent=True, most=MOST)
    with pytest.raises(ValueError, match="255"):
        list(frames.of(message))


def test_a_server_without_a_limit_of_frames_gets_all_of_a_body_in_one() -> None:
    """RabbitMQ with `frame_max = 0` got no body at all, and closed the connection."""
    body = b"x" * 3 * MOST
    frames = PublishFrames(1, "millrace.events", mandatory=False, persistent=True, most=-8)
    _, _, only = frames.of(Message("m-1", body, "key"))
    assert body in only
