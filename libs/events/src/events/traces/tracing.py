"""Spans: what was done for one request, by whatever process.

The trace goes from hand to hand as W3C `traceparent`: through HTTP, AMQP, the log, to the frame. That it always does;
spans are made only where the standard settings (`OTEL_…`) name a collector, and whether one is, its parent decides.
"""

import random
import re
import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeAlias

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)

from events.traces.settings import are_collected

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Attributes: TypeAlias = Mapping[str, str | int]
Cause: TypeAlias = str | SpanContext | None  # a traceparent, or the same read

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = frozenset("13579bdf")  # the last letter of a traceparent whose spans are collected
_MOST_LINKS = 128
_NO_SPAN = nullcontext(INVALID_SPAN)
_LAST_SECONDS = 2.0  # for the last spans when a process ends


class Tracing:
    def __init__(self, service: str) -> None:
        self._provider = _provider_of(service)
        self._tracer = (
            None if self._provider is None else self._provider.get_tracer("millrace", version("millrace-events"))
        )

    @property
    def collected(self) -> bool:
        """Whether anybody collects our spans."""
        return self._tracer is not None

    def span(
        self,
        name: str,
        *,
        traceparent: str | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
    ) -> AbstractContextManager[Span]:
        """A span under `traceparent` if that names one, else under the current one. Without a collector, the trace is
        current all the same: what is logged, said and sent belongs to it."""
        given = _read(traceparent)
        if self._tracer is not None:
            parent = None if given is None else trace.set_span_in_context(NonRecordingSpan(given))
            return _made(self._tracer, name, parent, kind, attributes)
        current = trace.get_current_span()
        if given is None and current.get_span_context().is_valid:
            return nullcontext(current)
        return _Carried(given or _fresh())

    def begin(self, name: str, *, traceparent: str | None, kind: SpanKind, attributes: Attributes) -> Span:
        """The same for whoever ends it elsewhere. It is not made the current one."""
        if self._tracer is None:
            return INVALID_SPAN
        given = _read(traceparent)
        parent = contexts.Context() if given is None else trace.set_span_in_context(NonRecordingSpan(given))
        return self._tracer.start_span(name, parent, kind, attributes)

    def batch(
        self,
        name: str,
        causes: Iterable[Cause],
        *,
        kind: SpanKind,
        attributes: Attributes | None = None,
        under: SpanContext | None = None,
    ) -> AbstractContextManager[Span]:
        """One span for what is done at once for several: it belongs to the first one's trace, or to that of `under` if
        this is one of theirs, and is linked to all others. None is made if nobody's trace is collected."""
        if self._tracer is None or not (sampled := _sampled(causes)):
            return _NO_SPAN
        first, *others = sampled
        if under is not None and any(under.trace_id == one.trace_id for one in sampled):
            first, others = under, [one for one in sampled if one != under]
        parent = trace.set_span_in_context(NonRecordingSpan(first))
        return _made(self._tracer, name, parent, kind, attributes, [Link(one) for one in others])

    def close(self) -> None:
        """Send what is left, for a moment: whether or not the collector answers, the process ends, and nobody in it
        waits for that."""
        if self._provider is not None:
            threading.Thread(target=_end, args=(self._provider,), name="last spans").start()


def _provider_of(service: str) -> "TracerProvider | None":
    if not are_collected():
        return None
    from events.traces.collector import provider_of  # 7 MB and 0.2 s, for who has a collector

    return provider_of(service)


def _end(provider: "TracerProvider") -> None:
    ending = threading.Thread(target=provider.shutdown, name="spans", daemon=True)
    ending.start()
    ending.join(_LAST_SECONDS)


def current_context() -> SpanContext | None:
    context = trace.get_current_span().get_span_context()
    return context if context.is_valid else None


def current_traceparent() -> str | None:
    context = current_context()
    return None if context is None else traceparent_of(context)


def uncollected() -> str:
    """A traceparent that says that nobody collects its spans, to whoever is asked next."""
    return f"00-{_some_bits(128):032x}-{_some_bits(64):016x}-00"


def carried(span: Span) -> dict[str, str]:
    """The header by which whoever gets a message goes on from the span; none if it is no real one."""
    context = span.get_span_context()
    return {"traceparent": traceparent_of(context)} if context.is_valid else {}


def traceparent_of(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


@contextmanager
def _made(
    tracer: trace.Tracer,
    name: str,
    parent: contexts.Context | None,
    kind: SpanKind,
    attributes: Attributes | None,
    links: Sequence[Link] = (),
) -> Iterator[Span]:
    with tracer.start_as_current_span(name, parent, kind, attributes, links) as span:
        try:
            yield span
        except Exception as error:
            span.set_attribute("error.type", _type_of(error))  # all else of it the tracer tells
            raise


class _Carried:
    """A context that is current for a while, and of which nothing is recorded."""

    __slots__ = ("_span", "_token")

    def __init__(self, context: SpanContext) -> None:
        self._span = NonRecordingSpan(context)

    def __enter__(self) -> Span:
        self._token = contexts.attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(self, *_: object) -> None:
        contexts.detach(self._token)


def has_failed(span: Span, why: Exception | str) -> None:
    """What it stands for, and nothing is raised out of it. `why`: or the code of an error."""
    if isinstance(why, Exception):
        span.record_exception(why)
    span.set_attribute("error.type", _type_of(why) if isinstance(why, Exception) else why)
    span.set_status(Status(StatusCode.ERROR))


def _type_of(error: Exception) -> str:
    code = getattr(error, "code", None)
    return code if isinstance(code, str) else type(error).__qualname__


def _sampled(causes: Iterable[Cause]) -> list[SpanContext]:
    distinct: dict[Hashable, Cause] = {}
    for one in causes:
        if _is_sampled(one):
            distinct[_key(one)] = one
            if len(distinct) == _MOST_LINKS:
                break
    return [context for one in distinct.values() if (context := _read(one)) is not None]


def _is_sampled(cause: Cause) -> bool:
    if isinstance(cause, str):
        return cause[-1:] in _SAMPLED
    return cause is not None and cause.trace_flags.sampled


def _key(cause: Cause) -> Hashable:
    return (cause.trace_id, cause.span_id) if isinstance(cause, SpanContext) else cause


def _read(cause: Cause) -> SpanContext | None:
    if not isinstance(cause, str):
        return cause
    found = _TRACEPARENT.fullmatch(cause)
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))


def _fresh() -> SpanContext:
    return SpanContext(_some_bits(128), _some_bits(64), is_remote=False)


def _some_bits(count: int) -> int:
    return random.getrandbits(count) | 1  # an id may not be 0
