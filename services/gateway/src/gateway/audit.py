"""What the log is told about accounts."""

from uuid import UUID

from events.catalog import Payload
from events.envelope import Event, new_event, stream_name
from events.telemetry import current_traceparent


def audit_event(payload: Payload, *, tenant: str, about: tuple[str, UUID | str]) -> Event:
    """The fact in the stream of whom it is about: `("user", id)`."""
    return new_event(
        type=payload.event_type,
        stream=stream_name(*about),
        tenant=tenant,
        source="/millrace/gateway",
        data=payload.encode(),
        traceparent=current_traceparent(),
    )
