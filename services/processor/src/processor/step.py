"""What a step is: a function in a process of its own, from a task to a result, that says how far it is.

It holds no connection to anything, and can be killed at any moment.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from processor.inputs.caps import Caps
from processor.language.problems import Problem


class Task(msgspec.Struct, frozen=True, tag="task"):
    step: str
    input: str  # path of the file to work on, if it is given one
    options: dict[str, Any]
    scratch: str  # a folder for this task alone, removed after it
    memory_mb: int  # what the step may use; beyond, it goes to disk or fails
    threads: int
    caps: Caps = Caps()  # of what it decompresses
    inputs: tuple[str, ...] = ()  # paths of the files of the parameter `blobs`, in its order
    # Where in its blob the file `input` begins: only the parameter `range` of it was fetched from afar.
    input_offset: int = 0
    # An empty folder. When the step has ended well, the files of its folder `artifacts` become the job's artifacts, and
    # those of `staged` are there for later steps of the job, until it has ended.
    outputs: str = ""
    output_key: str = ""  # `<output_key>/<name>` will be the key of what is staged …
    artifact_key: str = ""  # … and `<artifact_key>/<name>` that of an artifact


# The share that is done, 0 to 1, and what is being done. Raises `StepStopped` if the step is not wanted any more.
Report = Callable[[float, str | None], None]

Step = Callable[[Task, Report], dict[str, Any]]


class StepStopped(Exception):
    """Somebody has cancelled the job: a step lets it pass, and ends."""


class StepError(Exception):
    """The input cannot be worked on: a stable code, and a sentence for whoever sent it. `problems` are the places in
    the options that are to blame."""

    def __init__(self, code: str, detail: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.problems = tuple(problems)
