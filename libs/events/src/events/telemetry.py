"""Logs, traces and metrics of one service.

Logs are JSON lines that carry the trace, request, tenant and event they belong to. Traces travel as W3C
`traceparent` from HTTP through AMQP and the log to the frame. Metrics live in a registry per service, so that
four services in one process stay four.
"""

import logging
import logging.handlers
import sys
import traceback
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import structlog
from opentelemetry.trace import Span, SpanKind
from structlog.typing import EventDict, Processor

from events.metrics.metrics import Metrics
from events.traces.masking import masked, masked_path
from events.traces.tracing import Attributes, Tracing, current_context, current_traceparent

__all__ = ["Telemetry", "configure_logging", "current_traceparent", "mask_secrets", "standard_log"]

_LOG_FILE_BYTES = 50 * 1024 * 1024
_LOG_FILES = 5
_SHOWN_CHARACTERS = 500  # of each value in a line of `standard_log`
_SHOWN_FRAMES = 3

# Libraries whose DEBUG lines would drown ours.
_NOISY = ("aio_pika", "aiormq", "aiohttp", "alembic", "asyncio", "pamqp", "sqlalchemy", "urllib3", "uvicorn")


class Telemetry:
    def __init__(self, service: str, log: structlog.stdlib.BoundLogger | None = None) -> None:
        self.service = service
        self.log: structlog.stdlib.BoundLogger = log or structlog.stdlib.get_logger(service)
        self.metrics = Metrics()
        self.registry = self.metrics.registry
        self.counter, self.gauge, self.histogram = self.metrics.counter, self.metrics.gauge, self.metrics.histogram
        self.tracing = Tracing(service)

    def span(
        self,
        name: str,
        *,
        traceparent: str | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
    ) -> AbstractContextManager[Span]:
        """A span under `traceparent` if one is given, else under the current one."""
        return self.tracing.span(name, traceparent=traceparent, kind=kind, attributes=attributes)

    def close(self) -> None:
        self.tracing.close()


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


def standard_log(name: str) -> structlog.stdlib.BoundLogger:
    """For what runs in a process of others: `logging.getLogger("millrace.<name>")`, whatever it has made of structlog,
    whose default shows all local variables. One line each, without a traceback."""
    log = structlog.wrap_logger(
        logging.getLogger(f"millrace.{name}"),
        processors=[structlog.stdlib.filter_by_level, _say_what_was_raised, mask_secrets, _as_line],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return cast(structlog.stdlib.BoundLogger, log)


def mask_secrets(_logger: Any, _method: str, entry: EventDict) -> EventDict:
    """Blank every value whose name says that it is secret, and every secret inside another value."""
    if isinstance(path := entry.get("path"), str):
        entry = {**entry, "path": masked_path(path)}
    return {key: masked(key, value) for key, value in entry.items()}


def _say_what_was_raised(_logger: Any, _method: str, entry: EventDict) -> EventDict:
    told = entry.pop("exc_info", None)
    raised = sys.exception() if told is True else told
    if isinstance(raised, BaseException):
        frames = traceback.extract_tb(raised.__traceback__)[-_SHOWN_FRAMES:]
        entry["error"] = repr(raised)
        entry["at"] = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return entry


def _as_line(_logger: Any, _method: str, entry: EventDict) -> str:
    said = str(entry.pop("event"))
    return " ".join([said, *(f"{name}={str(value)[:_SHOWN_CHARACTERS]!r}" for name, value in entry.items())])


def _add_trace(_logger: Any, _method: str, entry: EventDict) -> EventDict:
    context = current_context()
    if context is not None:
        entry["trace_id"] = f"{context.trace_id:032x}"
    return entry
