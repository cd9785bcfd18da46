"""All that is said, by whoever says it: who imports this has the whole catalog."""

from collections.abc import Mapping

from events import accounts, jobs, schedules, steps, uploads, workflows
from events.catalog import CATALOG, Payload

__all__ = ["IN_LOG", "stream_category_of"]

_SPOKEN = (accounts, jobs, schedules, steps, uploads, workflows)

# What becomes part of the log as it is. What workers say of steps is only on its way to the intake.
IN_LOG: Mapping[str, type[Payload]] = {name: said for name, said in sorted(CATALOG.items()) if name not in steps.SAID}

# Streams are named for what they are about; where a type's first word says otherwise:
_ELSEWHERE = {"user.invited": "invitation", "session.ended": "user", "session.reuse_detected": "user"}


def stream_category_of(type_name: str) -> str:
    """Events of this type are in streams `<category>:<id>`."""
    return _ELSEWHERE.get(type_name) or type_name.partition(".")[0]
