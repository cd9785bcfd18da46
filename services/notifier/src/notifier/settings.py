"""What the notifier is told at its start."""

from pydantic import Field

from events.settings import ServiceSettings


class NotifierSettings(ServiceSettings):
    ping_seconds: float = Field(default=25.0, gt=0)  # between pings; who answers none of two is gone
    max_message_bytes: int = Field(default=16 * 1024, ge=64)  # of one message that a client sends
    max_messages_per_second: int = Field(default=20, ge=1)  # that a client sends, on average over ten seconds
    queue_bytes: int = Field(default=256 * 1024, ge=1024)  # unsent bytes of a connection before it reads from the log
    feed_poll_seconds: float = Field(default=1.0, gt=0)  # between looks at the log's head, should the feed be silent
    feed_batches: int = Field(default=1000, ge=1)  # batches that wait for us at the broker
