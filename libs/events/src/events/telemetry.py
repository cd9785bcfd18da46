"""Logs, traces and metrics of one service.

Logs are JSON lines that carry the trace, request, tenant and event they belong to. Traces travel as W3C
`traceparent` from HTTP through AMQP and the log to the frame. Metrics live in a registry per service, so that
four services in one process stay four.
"""

import logging
import logging.handlers
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, GCCollector, PlatformCollector, ProcessCollector
from structlog.typing import EventDict, Processor

_PROPAGATOR = TraceContextTextMapPropagator()
_LOG_FILE_BYTES = 50 * 1024 * 1024
_LOG_FILES = 5

# Keys, tokens and passwords must not be readable in a log, whoever passed them by mistake.
_SECRET_NAMES = re.compile(r"authorization|password|secret|token|ticket|api[-_]?key|cookie|principal", re.IGNORECASE)
_SECRET_VALUES = re.compile(
    r"mr_(?:live|tkt|refresh|invite)_[\w-]+"  # our keys, tickets, refresh tokens and invitations
    r"|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"  # JWTs
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # credentials in a URL
    r"|(?i:(?<=token=)|(?<=ticket=)|(?<=api_key=)|(?<=[?&]key=)|(?<=bearer ))[^&\s\"']+"
)
# A segment of a path that is no word and no id: a client's mistake, or a secret behind percent signs.
_ODD_SEGMENT = re.compile(r"[^/]*[^\w.:~/-][^/]*", re.ASCII)

# Libraries whose DEBUG lines would drown ours.
_NOISY = ("aio_pika", "aiormq", "aiohttp", "alembic", "asyncio", "pamqp", "sqlalchemy", "uvicorn")


class Telemetry:
    def __init__(self, service: str) -> None:
        self.service = service
        self.log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(service)
        self.registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._provider = TracerProvider(resource=Resource.create({"service.name": f"millrace-{service}"}))
        if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
            self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self.tracer = self._provider.get_tracer("millrace")

    @contextmanager
    def span(
        self,
        name: str,
        *,
        traceparent: str | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: dict[str, str | int] | None = None,
    ) -> Iterator[Span]:
        """A span under `traceparent` if one is given, else under the current one."""
        parent = _PROPAGATOR.extract({"traceparent": traceparent}) if traceparent else None
        with self.tracer.start_as_current_span(name, context=parent, kind=kind, attributes=attributes) as span:
            yield span

    def counter(self, name: str, says: str, labels: Sequence[str] = ()) -> Counter:
        """The service's one counter of that name: who counts the same thing shares it."""
        if name not in self._counters:
            self._counters[name] = Counter(name, says, labels, registry=self.registry)
        return self._counters[name]

    def close(self) -> None:
        self._provider.shutdown()


def current_traceparent() -> str | None:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def configure_logging(log_file: Path, console_level: str) -> None:
    """DEBUG as JSON lines to the file; from `console_level` on to stderr, readable where that is a terminal."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )

    def formatter(renderer: Processor) -> structlog.stdlib.ProcessorFormatter:
        remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
        return structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[remove_meta, structlog.processors.format_exc_info, mask_secrets, renderer],
        )

    as_json = formatter(structlog.processors.JSONRenderer(default=str))
    readable = formatter(structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback))
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(readable if sys.stderr.isatty() else as_json)
    console.setLevel(console_level)
    log_file.parent.mkdir(parents=True, exist_ok=True)
    file = logging.handlers.RotatingFileHandler(log_file, maxBytes=_LOG_FILE_BYTES, backupCount=_LOG_FILES)
    file.setFormatter(as_json)
    logging.basicConfig(level=logging.DEBUG, handlers=[console, file], force=True)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)


def mask_secrets(_logger: Any, _method: str, entry: EventDict) -> EventDict:
    """Blank every value whose name says that it is secret, and every secret inside another value."""
    if isinstance(path := entry.get("path"), str):
        entry = {**entry, "path": _ODD_SEGMENT.sub("***", path)}
    return {key: "***" if _SECRET_NAMES.search(key) else _masked(value) for key, value in entry.items()}


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRET_VALUES.sub("***", value)
    if isinstance(value, dict):
        return {key: "***" if _SECRET_NAMES.search(str(key)) else _masked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(inner) for inner in value]
    return value


def _add_trace(_logger: Any, _method: str, entry: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        entry["trace_id"] = f"{context.trace_id:032x}"
    return entry
