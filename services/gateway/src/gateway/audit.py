"""What the log is told about accounts."""

from uuid import UUID

from events.catalog import Payload
from events.envelope import Event, event_of, stream_name
from events.telemetry import current_traceparent


def audit_event(payload: Payload, *, tenant: str, about: tuple[str, UUID | str]) -> Event:
    """The fact in the stream of whom it is about: `("user", id)`."""
    return event_of(
        payload,
        stream=stream_name(*about),
        tenant=tenant,
        source="/millrace/gateway",
        traceparent=current_traceparent(),
    )
