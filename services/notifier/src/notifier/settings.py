"""What the notifier is told at its start."""

from typing import Annotated

from pydantic import Field, StringConstraints

from events.settings import ServiceSettings

ServiceUrl = Annotated[str, StringConstraints(pattern=r"^http://[A-Za-z0-9._\[\]:-]+:[0-9]{1,5}/?$")]


class NotifierSettings(ServiceSettings):
    max_connections: int = Field(default=20_000, ge=1)  # open WebSockets; one more is a 503
    max_subscriptions: int = Field(default=1000, ge=1)  # jobs that one connection may name
    max_message_bytes: int = Field(default=64 * 1024, ge=128)  # bytes of one message from a client
    message_rate: float = Field(
        default=20.0, gt=0
    )  # frames and commands per second that a client may send in the long run
    message_burst: int = Field(default=2000, ge=1)  # frames and commands that a client may send at once
    ping_seconds: float = Field(default=25.0, gt=0)  # seconds between pings
    pong_seconds: float = Field(default=10.0, gt=0)  # seconds that a client has to answer one
    stall_seconds: float = Field(default=120.0, gt=0)  # seconds that a client may read nothing of what waits for it
    queue_bytes: int = Field(default=256 * 1024, ge=4096)  # unsent bytes beyond which a client reads from the log
    handshake_seconds: float = Field(default=10.0, gt=0)  # seconds until an upgrade is answered with 503
    catch_up_reads: int = Field(default=4, ge=1)  # pages read from the log at once for all who are behind
    gateway_url: ServiceUrl | None = None  # http://host:port of the gateway, which refreshes sockets; None: nobody does
    drain_seconds: float = Field(default=20.0, ge=0, le=20)  # longest time over which sockets are closed on SIGTERM
    feed_batches: int = Field(default=1000, ge=1)  # batches that wait for us at the broker
    feed_poll_seconds: float = Field(default=1.0, gt=0)  # seconds of a silent feed until we ask the log itself
