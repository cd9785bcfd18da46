"""What a workflow is: a graph of steps, as its document says it. Immutable: a change is another version.

These structs say what a document may hold: its JSON Schema, the checks of its shape and its canonical form come from
them. A document may say some things in more ways than one; a `Definition` has them in one: durations in seconds, `when`
and `concurrency.key` without `${{ }}`, `depends` and `retry.on` in order.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from processor.language import durations

NAME_PATTERN = r"^[a-z][a-z0-9-]{0,63}$"
STEP_PATTERN = r"^[a-z][a-z0-9_-]{0,63}$"
INPUT_PATTERN = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
SIGNAL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
CODE_PATTERN = r"^[a-z][a-z0-9_.-]{0,63}$"
QUEUE_PATTERN = r"^[a-z][a-z0-9._-]{0,63}$"
REMOTE = "remote/"
# No step may be called so: what is done at the end, and what becomes of the job as a whole.
ON_EXIT, JOB = RESERVED = ("on_exit", "job")

MOST_STEPS = 5_000
MOST_INPUTS = 200
MOST_ITEMS = 100_000

# `x-says` is how a problem with a pattern is told; `x-duration` and `x-condition` mark what a document may write
# differently (see `schema.py`).
StepName = Annotated[str, Meta(pattern=STEP_PATTERN)]
InputName = Annotated[str, Meta(pattern=INPUT_PATTERN)]
Code = Annotated[
    str, Meta(pattern=CODE_PATTERN, extra_json_schema={"x-says": "a code such as upstream_unavailable or timeout"})
]
Attempts = Annotated[int, Meta(ge=0, le=100, description="Attempts after the first.")]
Duration = Annotated[float, Meta(ge=0, le=durations.LONGEST, extra_json_schema={"x-duration": True})]
Timeout = Annotated[float, Meta(gt=0, le=durations.LONGEST, extra_json_schema={"x-duration": True})]
Condition = Annotated[str, Meta(min_length=1, extra_json_schema={"x-condition": True})]
Many = Annotated[int, Meta(ge=1, le=10_000)]
Text = Annotated[str, Meta(min_length=1, max_length=2_000)]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    pass


class Retry(_Part, frozen=True):
    """When a step that failed is tried again: after `backoff` seconds, `factor` times as long each time, never longer
    than `cap`, give or take a share of `jitter`."""

    max: Attempts = 3
    backoff: Annotated[Duration, Meta(description="How long to wait before the second attempt.")] = 1.0
    factor: Annotated[float, Meta(ge=1, le=100, description="How many times longer each further wait is.")] = 2.0
    jitter: Annotated[float, Meta(ge=0, le=1, description="The share of a wait that is left to chance.")] = 0.1
    cap: Annotated[Duration, Meta(description="The longest wait.")] = 300.0
    on: Annotated[
        tuple[Code, ...],
        Meta(
            max_length=100,
            description="The codes of the errors to try again after; none for all.",
            extra_json_schema={"uniqueItems": True},
        ),
    ] = ()


class Map(_Part, frozen=True):
    """Once for each item of a list, so many at a time. The step's output is the list of theirs."""

    items: Annotated[
        Any,
        Meta(
            description="A list, or an expression that gives one. A step's `with` sees each as `item` and `index`.",
            extra_json_schema={"type": ["array", "string"], "maxItems": MOST_ITEMS},
        ),
    ]
    parallel: Annotated[int, Meta(ge=1, le=1_000, description="How many at a time.")] = 16


class Wait(_Part, frozen=True):
    """Exactly one of the four."""

    timer: Annotated[
        Any, Meta(description="For how long, or an expression.", extra_json_schema={"type": ["number", "string"]})
    ] = None
    until: Annotated[
        Any, Meta(description="Until when (RFC 3339), or an expression.", extra_json_schema={"type": "string"})
    ] = None
    signal: (
        Annotated[
            str,
            Meta(
                pattern=SIGNAL_PATTERN,
                description="The signal that ends it. Its data are the step's output.",
                extra_json_schema={"x-says": "up to 64 letters, digits, _, . and -"},
            ),
        ]
        | None
    ) = None
    approval: Annotated[Text, Meta(description="The question to answer. The signal has the step's name.")] | None = None


class Action(_Part, frozen=True):
    """What is done, and what it is given: exactly one of `uses`, `workflow` and `wait`."""

    uses: Annotated[str, Meta(description="A handler, or `remote/<queue>`.")] | None = None
    workflow: (
        Annotated[
            str,
            Meta(
                pattern=NAME_PATTERN,
                description="Another workflow, as a job of its own.",
                extra_json_schema={"x-says": "a small letter, then small letters, digits or -"},
            ),
        ]
        | None
    ) = None
    version: (
        Annotated[int, Meta(ge=1, le=2_147_483_647, description="Of the workflow; none for the newest.")] | None
    ) = None
    wait: Wait | None = None
    with_: Annotated[Mapping[str, Any], Meta(description="What it is given. Any text may hold expressions.")] = (
        msgspec.field(default_factory=dict, name="with")
    )
    when: Annotated[Condition, Meta(description="An expression; if it is not true, the step is skipped.")] | None = None
    retry: Retry | None = None
    timeout: Annotated[Timeout, Meta(description="How long an attempt may take. A timer takes none.")] | None = None


class Step(Action, frozen=True):
    depends: Annotated[tuple[str, ...], Meta(description="The steps that come before it.", max_length=MOST_STEPS)] = ()
    map: Map | None = None
    compensate: (
        Annotated[Action, Meta(description="Undoes the step, should the job fail or be cancelled after it was begun.")]
        | None
    ) = None
    continue_on_failure: Annotated[bool, Meta(description="The job goes on without it.")] = False
    weight: Annotated[float, Meta(gt=0, le=1_000_000, description="Its share of the job's progress.")] = 1.0


class Concurrency(_Part, frozen=True):
    """How many jobs of the workflow are under way at once."""

    limit: Annotated[Many, Meta(description="In all.")] | None = None
    key: Annotated[str, Meta(min_length=1, description="An expression over the inputs …")] | None = None
    limit_per_key: Annotated[Many, Meta(description="… and how many with the same value of it.")] = 1


class Definition(_Part, frozen=True):
    name: Annotated[
        str,
        Meta(
            pattern=NAME_PATTERN,
            description="What the workflow is called.",
            extra_json_schema={"x-says": "a small letter, then up to 63 small letters, digits or -"},
        ),
    ]
    steps: Annotated[
        Mapping[StepName, Step], Meta(min_length=1, max_length=MOST_STEPS, description="The graph, by names.")
    ]
    title: Annotated[str, Meta(max_length=200)] | None = None
    description: Annotated[str, Meta(max_length=10_000)] | None = None
    inputs: Annotated[
        Mapping[InputName, Mapping[str, Any]],
        Meta(
            max_length=MOST_INPUTS,
            description="What a job is given: for each a JSON Schema. One without a `default` must be given.",
        ),
    ] = msgspec.field(default_factory=dict)
    output: Annotated[
        Any, Meta(description="The job's result, with expressions; none: what the last steps gave, by their names.")
    ] = None
    on_exit: Annotated[Action, Meta(description="What is done at the end, however it went.")] | None = None
    concurrency: Concurrency | None = None
    timeout: Annotated[Timeout, Meta(description="How long a job may take, from its start.")] | None = None
