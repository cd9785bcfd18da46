"""What is said of workflows. Streams are `workflow:<name>`."""

from typing import Any

from events.catalog import Payload, event


@event("workflow.published")
class WorkflowPublished(Payload):
    """A version, for ever as it is."""

    version: int
    document: dict[str, Any]
    by: str | None = None


@event("workflow.retired")
class WorkflowRetired(Payload):
    """Nobody can start it any more; its jobs go on."""

    by: str | None = None
