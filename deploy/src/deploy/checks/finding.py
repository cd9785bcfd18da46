"""What a check has found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "wrong", "down", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    state: State
    says: str
    fix: str | None = None  # what to do about it


def all_fine(findings: Sequence[Finding]) -> bool:
    """A warning is for somebody to read, and no reason to be woken."""
    return not any(finding.state in ("wrong", "down") for finding in findings)
