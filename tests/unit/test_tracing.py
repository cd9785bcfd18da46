"""Spans go to the collector that the standard settings name, and to nobody if they name none."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio
from opentelemetry.trace import SpanKind, get_current_span

from deploy.process import free_port
from events.errors import StartupError, Unavailable
from events.telemetry import Telemetry, current_traceparent
from events.traces.tracing import carried, current_context
from fixtures.collected import Collector, collecting, hanging

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"

OpenTelemetry = Callable[..., Telemetry]


def of_another(number: int, flags: str = "01") -> str:
    return f"00-{number:032x}-{number:016x}-{flags}"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenTelemetry]:
    """`opened(OTEL_…="…")`: what a process tells with these settings."""
    open_ones: list[Telemetry] = []

    def open_one(**settings: str) -> Telemetry:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        open_ones.append(Telemetry("test"))
        return open_ones[-1]

    yield open_one
    for telemetry in open_ones:
        telemetry.close()


@pytest_asyncio.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as collector:
        yield collector


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_TRACES_EXPORTER": "zipkin"},
    ],
)
def test_without_a_collector_no_span_is_made_and_the_trace_goes_on(
    opened: OpenTelemetry, settings: dict[str, str]
) -> None:
    telemetry = opened(**settings)
    assert not telemetry.tracing.collected
    with telemetry.span("outer", traceparent=SAMPLED) as span, telemetry.span("inner"):
        assert not span.is_recording()
        assert current_traceparent() == SAMPLED
        assert carried(get_current_span()) == {"traceparent": SAMPLED}
        with telemetry.tracing.batch("together", [SAMPLED], kind=SpanKind.CLIENT) as batch:
            assert carried(batch) == {}
    with telemetry.span("begins here"):
        begun = current_traceparent()
    assert begun is not None
    assert begun.endswith("-00"), "nobody collects it, and whoever is asked next may know"
    assert current_traceparent() is None


@pytest.mark.parametrize(
    "settings", [{"OTEL_TRACES_EXPORTER": "otlp"}, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/x"}]
)
def test_each_of_the_settings_that_name_a_collector_is_enough(opened: OpenTelemetry, settings: dict[str, str]) -> None:
    assert opened(**settings).tracing.collected


def test_a_setting_that_cannot_be_used_ends_in_a_sentence(opened: OpenTelemetry) -> None:
    with pytest.raises(StartupError, match=r"A setting of traces \(OTEL_…\) is not usable"):
        opened(OTEL_TRACES_EXPORTER="otlp", OTEL_BSP_MAX_QUEUE_SIZE="1", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="2")


async def test_spans_go_to_the_collector_by_the_standard_settings(opened: OpenTelemetry, collector: Collector) -> None:
    telemetry = opened(
        **collector.settings,
        OTEL_EXPORTER_OTLP_HEADERS="x-of=somebody",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test,service.name=overruled",
        OTEL_SERVICE_NAME="chosen",
    )
    with telemetry.span("work", traceparent=SAMPLED, kind=SpanKind.CONSUMER, attributes={"a.number": 7}):
        pass
    span = await collector.one("work")
    assert (span.service, span.trace, span.parent, span.kind) == ("chosen", TRACE, SPAN, "CONSUMER")
    assert span.attributes == {"a.number": 7}
    assert collector.heads[0].line == "POST /v1/traces HTTP/1.1"
    assert collector.heads[0].get("x-of") == "somebody"
    assert "deployment.environment.name" in collector.text


async def test_the_parent_decides_and_without_one_the_sampler(opened: OpenTelemetry, collector: Collector) -> None:
    telemetry = opened(**collector.settings, OTEL_TRACES_SAMPLER="parentbased_always_off")
    with telemetry.span("of nobody"), telemetry.span("of nobody's"):
        nobodys = current_context()
        assert nobodys is not None
        assert not nobodys.trace_flags.sampled
    with telemetry.span("unsampled", traceparent=UNSAMPLED), telemetry.span("inner"):
        unsampled = current_traceparent()
        assert unsampled is not None
        with telemetry.tracing.batch("together", [unsampled], kind=SpanKind.CLIENT) as none:
            assert not none.is_recording()
    assert unsampled.startswith(f"00-{TRACE}-")
    assert unsampled.endswith("-00")
    with telemetry.span("sampled", traceparent=SAMPLED):
        pass
    await collector.one("sampled")
    assert [span.name for span in collector.spans] == ["sampled"]


async def test_a_batch_is_in_the_first_ones_trace_and_linked_to_the_others(
    opened: OpenTelemetry, collector: Collector
) -> None:
    telemetry = opened(**collector.settings)
    causes = [None, of_another(1, "00"), SAMPLED, of_another(2), SAMPLED, "nonsense1", of_another(3)]
    with telemetry.tracing.batch("together", causes, kind=SpanKind.CLIENT):
        pass
    span = await collector.one("together")
    assert (span.trace, span.parent) == (TRACE, SPAN)
    assert span.links == {(f"{number:032x}", f"{number:016x}") for number in (2, 3)}

    with telemetry.span("heard", traceparent=of_another(3)):
        heard = current_context()
    for name, under in (("under one of theirs", [SAMPLED, of_another(3)]), ("under nobody's", [SAMPLED])):
        with telemetry.tracing.batch(name, under, kind=SpanKind.PRODUCER, under=heard):
            pass
    theirs, nobodys = await collector.one("under one of theirs"), await collector.one("under nobody's")
    assert heard is not None
    assert (theirs.trace, theirs.parent) == (f"{3:032x}", f"{heard.span_id:016x}")
    assert (TRACE, SPAN) in theirs.links
    assert (nobodys.trace, nobodys.links) == (TRACE, frozenset())


async def test_what_fails_says_how_and_no_secret_with_it(opened: OpenTelemetry, collector: Collector) -> None:
    telemetry = opened(**collector.settings)
    attributes = {"url.path": "/jobs/%6d%72_live_SECRETSECRET", "note": "/ws?token=SECRETSECRET", "api_key": "SECRET"}
    with pytest.raises(Unavailable), telemetry.span("GET", attributes=attributes):
        raise Unavailable("cannot connect to amqp://millrace:SECRETSECRET@127.0.0.1 with mr_live_abc_SECRETSECRET")
    span = await collector.one("GET")
    assert span.failed
    assert span.attributes["error.type"] == "unavailable"
    assert (span.attributes["url.path"], span.attributes["note"]) == ("/jobs/***", "/ws?token=***")
    assert "SECRET" not in collector.text
    assert "cannot connect to amqp://***@127.0.0.1" in collector.text


async def test_a_collector_that_never_answers_holds_nobody_up(opened: OpenTelemetry) -> None:
    """It loses spans, and nothing else: whoever ends a span does not wait until there is room for it."""
    asked = asyncio.Event()
    async with hanging(asked) as settings:
        telemetry = opened(**settings, OTEL_BSP_MAX_QUEUE_SIZE="16", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="8")
        with telemetry.span("first"):
            pass
        async with asyncio.timeout(30):
            await asked.wait()  # and from now on it has not answered
        for _ in range(1000):
            with telemetry.span("next"):
                pass
        telemetry.close()  # while the collector is still asked


class Heard(logging.Handler):
    """Sets an event when something is logged, by whatever thread."""

    def __init__(self) -> None:
        super().__init__()
        self.some = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def emit(self, record: logging.LogRecord) -> None:
        self._loop.call_soon_threadsafe(self.some.set)


async def test_that_nobody_is_at_the_collectors_address_is_said_in_the_log(opened: OpenTelemetry) -> None:
    heard, exporter = Heard(), logging.getLogger("opentelemetry.exporter.otlp")
    exporter.addHandler(heard)
    try:
        telemetry = opened(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}", OTEL_BSP_SCHEDULE_DELAY="10")
        for _ in range(1000):
            with telemetry.span("work"):
                pass
        async with asyncio.timeout(30):
            await heard.some.wait()
    finally:
        exporter.removeHandler(heard)


async def test_a_process_ends_though_its_collector_never_answers() -> None:
    """The library would wait for it for half a minute."""
    asked = asyncio.Event()
    work = (
        "import sys; from events.telemetry import Telemetry\n"
        "telemetry = Telemetry('test')\n"
        "with telemetry.span('work'): pass\n"
        "print(flush=True); sys.stdin.readline(); telemetry.close()"
    )
    async with hanging(asked) as settings:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", work),
            env={**settings, "OTEL_BSP_SCHEDULE_DELAY": "60000"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        await process.stdout.readline()
        await process.communicate(b"\n")
        assert process.returncode == 0
        assert asked.is_set()
