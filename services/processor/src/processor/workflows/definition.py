"""What a workflow is: a graph of steps, as its document says it. Immutable: a change is another version."""

from collections.abc import Mapping
from typing import Any

import msgspec

NAME_PATTERN = r"^[a-z][a-z0-9-]{0,63}$"


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    pass


class Retry(_Part, frozen=True):
    """When a step that failed is tried again: after `backoff` seconds, `factor` times as long each time, never longer
    than `cap`, give or take a share of `jitter`."""

    max: int = 3  # attempts after the first
    backoff: float = 1.0
    factor: float = 2.0
    jitter: float = 0.1
    cap: float = 300.0
    on: tuple[str, ...] = ()  # the errors' codes; none for all


class Map(_Part, frozen=True):
    """Once for each item of a list, so many at a time."""

    items: Any  # a list, or an expression
    parallel: int = 16


class Wait(_Part, frozen=True):
    """Exactly one of the four."""

    timer: Any = None  # seconds, or an expression
    until: Any = None  # a time (RFC 3339), or an expression
    signal: str | None = None  # its data are the step's output
    approval: str | None = None  # the question that somebody has to answer; the signal has the step's name


class Action(_Part, frozen=True):
    """What is done: a handler, and what it is given."""

    uses: str | None = None  # a handler, or `remote/<queue>`
    workflow: str | None = None  # another workflow, as a job of its own
    version: int | None = None  # of the workflow; none for the newest
    wait: Wait | None = None
    with_: Mapping[str, Any] = msgspec.field(default_factory=dict, name="with")
    when: str | None = None  # an expression; if it is not true, the step is skipped
    retry: Retry | None = None
    timeout: float | None = None  # seconds that an attempt may take


class Step(Action, frozen=True):
    depends: tuple[str, ...] = ()
    map: Map | None = None
    compensate: Action | None = None  # undoes the step, should the job fail or be cancelled after it was begun
    continue_on_failure: bool = False  # the job goes on without it
    weight: float = 1.0  # share of the job's progress


class Concurrency(_Part, frozen=True):
    """How many jobs of the workflow are under way at once."""

    limit: int | None = None
    key: str | None = None  # an expression over the inputs …
    limit_per_key: int = 1  # … and how many with the same value of it


class Definition(_Part, frozen=True):
    name: str
    steps: Mapping[str, Step]
    title: str | None = None
    description: str | None = None
    inputs: Mapping[str, Mapping[str, Any]] = msgspec.field(default_factory=dict)  # each a JSON Schema
    output: Any = None  # the job's result; none: what its last steps gave, by their names
    on_exit: Action | None = None  # at the end, however it went
    concurrency: Concurrency | None = None
    timeout: float | None = None  # seconds that a job may take, from its start
