"""What spans say of messages, by OpenTelemetry's conventions: `send` who publishes them, `process` who takes them."""

from events.broker.broker import Message
from events.traces.tracing import Attributes

SEND, PROCESS = "send", "process"


def about(
    operation: str, destination: str, system: str, message: Message | None = None, *, count: int | None = None
) -> Attributes:
    """`count`: of the messages in a batch, or of the events in one message."""
    said: dict[str, str | int] = {
        "messaging.system": system,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": destination,
    }
    if message is not None:
        said["messaging.message.id"] = message.id
        if message.routing_key:
            said["messaging.rabbitmq.destination.routing_key"] = message.routing_key
    if count is not None:
        said["messaging.batch.message_count"] = count
    return said
