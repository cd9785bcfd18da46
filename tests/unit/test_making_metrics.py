"""How metrics are made, bounded and told."""

import asyncio
import re
from types import ModuleType

import pytest
from prometheus_client import CollectorRegistry, exposition
from prometheus_client.openmetrics import exposition as openmetrics
from structlog.testing import capture_logs

from events.errors import BrokerUnavailable
from events.metrics.metrics import Bounded, Metrics, exemplar
from events.metrics.surveys import Survey
from events.running.tasks import end
from events.telemetry import Telemetry


def said(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def test_a_counter_says_0_for_each_known_label_before_it_has_counted() -> None:
    metrics = Metrics()
    metrics.counter("eggs_total", "Eggs.", {"size": ["large", "small"], "fate": ["boiled"]})
    assert said(metrics.registry, "eggs_total", size="large", fate="boiled") == 0
    assert said(metrics.registry, "eggs_total", size="small", fate="boiled") == 0


def test_two_who_count_the_same_share_a_counter_and_each_label_that_either_knows() -> None:
    metrics = Metrics()
    first = metrics.counter("eggs_total", "Eggs.", {"hen": ["Berta"]})
    second = metrics.counter("eggs_total", "Eggs.", {"hen": ["Frieda"]})
    assert first is second
    assert said(metrics.registry, "eggs_total", hen="Berta") == said(metrics.registry, "eggs_total", hen="Frieda") == 0


def test_of_names_that_clients_choose_the_first_ones_are_kept_and_the_others_are_one() -> None:
    bounded = Bounded(2)
    assert [bounded(name) for name in ("a", "b", "c", "a", "d", "b")] == ["a", "b", "other", "a", "other", "b"]


def test_clients_cannot_crowd_out_the_names_that_are_known() -> None:
    """Fifty workflows with a name each, and nobody could tell `csv-clean` from any other."""
    bounded = Bounded(1, known=["csv-clean"])
    assert [bounded(name) for name in ("a", "b", "csv-clean")] == ["a", "other", "csv-clean"]


async def test_when_counters_began_is_not_told() -> None:
    """prometheus-client's `_created` doubles the number of series, and `promtool` takes it for a metric of ours."""
    metrics = Metrics()
    metrics.counter("eggs_total", "Eggs.").inc()
    for accept in ("", "application/openmetrics-text"):
        text, _ = await metrics.told(accept)
        assert b"eggs_total 1.0" in text
        assert b"_created" not in text


@pytest.mark.parametrize("library", [exposition, openmetrics])
async def test_what_is_written_in_slices_is_what_the_library_would_write_at_once(library: ModuleType) -> None:
    """A scrape of a gateway that has seen every route would keep its event loop for fifty milliseconds."""
    metrics = Metrics()
    metrics.describe("gateway", "1")
    seconds = metrics.histogram("egg_seconds", "Until it is\nboiled.", ["hen"])
    for number in range(40):
        seconds.labels(f"# {number}\n").observe(number / 9, {"trace_id": f"{number:032x}"})
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    living = asyncio.create_task(others())
    text, _ = await metrics.told(library.CONTENT_TYPE_LATEST)
    await end(living)
    wanted = library.generate_latest(metrics.registry).decode()
    assert _lines(text.decode()) == [line for line in _lines(wanted) if "_created" not in line]
    assert turns > 40 * 17 / 100


def _lines(text: str) -> list[str]:
    """Without the process's own, which never stand still."""
    return [line for line in text.split("\n") if not re.match(r"(# \w+ )?(process|python)_", line)]


@pytest.mark.parametrize(
    "accept",
    ["text/plain; version=one; escaping=\x00", "*/*", "application/openmetrics-text; version=1e999; q=x", ";,;"],
)
async def test_whatever_a_client_accepts_it_is_answered(accept: str) -> None:
    """prometheus-client's own choice raises at a version that is no number: a 500."""
    text, media_type = await Metrics().told(accept)
    assert media_type.startswith(("text/plain", "application/openmetrics-text"))
    assert text in (b"", b"# EOF\n")


async def test_only_a_sampled_trace_is_an_example() -> None:
    """One that is not kept cannot be looked at."""
    telemetry = Telemetry("test")
    assert exemplar() is None
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with telemetry.span("sampled", traceparent=f"00-{trace}-00f067aa0ba902b7-01"):
        assert exemplar() == {"trace_id": trace}
    with telemetry.span("nobody collects it"):
        assert exemplar() is None
    assert exemplar(f"00-{trace}-00f067aa0ba902b7-01") == {"trace_id": trace}
    assert exemplar(f"00-{trace}-00f067aa0ba902b7-00") is None
    assert exemplar("") is None


async def test_however_many_scrape_the_database_is_asked_once() -> None:
    metrics, asked = Metrics(), 0

    async def ask() -> None:
        nonlocal asked
        asked += 1

    metrics.survey("eggs", ask)
    await asyncio.gather(*(metrics.told("") for _ in range(20)))
    assert asked == 1


async def test_while_nobody_answers_a_scrape_has_the_old_figures_and_their_age() -> None:
    metrics = Metrics()
    eggs = metrics.gauge("eggs", "Eggs.")
    eggs.set(3)

    async def ask() -> None:
        raise BrokerUnavailable("gone")

    metrics.survey("eggs", ask)
    text, _ = await metrics.told("")
    assert b"\neggs 3.0" in text
    assert said(metrics.registry, "millrace_survey_failures_total", survey="eggs") == 1
    age = said(metrics.registry, "millrace_survey_age_seconds", survey="eggs")
    assert age is not None
    assert age > 0


async def test_who_never_answers_does_not_keep_a_scrape() -> None:
    """PostgreSQL under SIGSTOP takes the question and says nothing."""
    metrics = Metrics()
    failures = metrics.counter("failures_total", "Failures.")
    survey = Survey(asyncio.Event().wait, metrics.gauge("age", "Age."), failures, patience=0.01)  # type: ignore[arg-type]
    await survey.refresh()
    assert said(metrics.registry, "failures_total") == 1


async def test_a_bug_in_one_survey_does_not_take_everything_else_from_who_scrapes() -> None:
    async def ask() -> None:
        raise KeyError("a column")

    metrics = Metrics()
    metrics.gauge("hens", "Hens.").set(2)
    metrics.survey("eggs", ask)
    with capture_logs() as logs:
        text, _ = await metrics.told("")
    assert b"\nhens 2.0" in text
    assert [entry["event"] for entry in logs] == ["survey failed"]
    assert said(metrics.registry, "millrace_survey_failures_total", survey="eggs") == 1
