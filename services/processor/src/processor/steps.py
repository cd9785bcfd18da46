"""The steps that the processor can run, by name. A step is a function of files, in a process of its own: it holds no
connection to the database or the broker, and can be killed at any moment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

# Share done from 0 to 1, and the input's size in bytes.
Report = Callable[[float, int], None]
Step = Callable[[Path, Report], dict[str, Any]]


class StepError(Exception):
    """The input cannot be worked on: a stable code, and a sentence for whoever sent it."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def _csv_profile(path: Path, report: Report) -> dict[str, Any]:
    from processor.cleaning.profile import profile  # DuckDB is loaded in the step's process only

    return profile(path, report)


STEPS: dict[str, Step] = {"csv-profile": _csv_profile}
