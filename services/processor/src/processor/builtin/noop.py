"""`noop`: gives back what it is given."""

from collections.abc import Mapping
from typing import Any

from processor.builtin.handler import Attempt


async def noop(_: Attempt, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return dict(parameters)
