"""Rules, alerts, dashboards and their pages, as they are checked in."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from deploy.monitoring import objectives
from deploy.monitoring.files import DASHBOARDS, PROMETHEUS, RUNBOOKS, files
from deploy.packages import debian_program
from fixtures import monitoring_queries as queries
from gateway.upstreams import OWN, UPSTREAMS

_ROOT = Path(__file__).parents[2]
_METRICS = _ROOT / "docs" / "operating" / "metrics.md"
_PARTS = ("What it means", "What users see", "Look first", "Causes", "Mend it")
# What Prometheus, its rules and its histograms add to what our services say.
_ADDED_LABELS = {"job", "instance", "le", "alertstate", "alertname"}


def _promtool(*arguments: str, at: Path) -> None:
    command = [str(debian_program("prometheus", "promtool")), *arguments]
    outcome = subprocess.run(command, cwd=at, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in files()])
def test_what_is_generated_is_what_is_checked_in(path: Path) -> None:
    assert path.read_text() == files()[path], "run `make monitoring`"


def test_nothing_else_is_among_the_dashboards() -> None:
    assert set(DASHBOARDS.glob("*")) == {path for path in files() if path.parent == DASHBOARDS}


def test_the_configuration_and_the_rules_are_what_prometheus_takes() -> None:
    _promtool("check", "config", "--syntax-only", "prometheus.yml", at=PROMETHEUS)
    _promtool("check", "rules", "--lint=all", *map(str, (PROMETHEUS / "rules").glob("*.yml")), at=PROMETHEUS)


@pytest.mark.parametrize("name", ["alerts.yml", "budgets.yml"])
def test_alerts_fire_when_they_should_and_not_before(name: str) -> None:
    _promtool("test", "rules", name, at=PROMETHEUS / "tests")


def test_every_alert_is_tested() -> None:
    tests = "".join(file.read_text() for file in (PROMETHEUS / "tests").glob("*.yml"))
    assert {alert for alert in queries.alerts() if alert not in tests} == {"RequestsFail"}  # by its objective, there


def test_requests_of_clients_are_all_but_those_of_machines_that_look_whether_we_are_well() -> None:
    (names,) = re.findall(r'^route!~"(.+)"$', objectives.CLIENTS)
    left_out = {route.prefix for route in UPSTREAMS if re.fullmatch(names, route.prefix)}
    assert left_out == {route.prefix for route in UPSTREAMS if route.service == OWN and route.limited is None}


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    for name, rule in queries.alerts().items():
        assert rule["annotations"]["runbook"] == f"docs/operating/runbooks/{name}.md"
        assert rule["labels"]["severity"] in ("page", "ticket")
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {*queries.alerts(), "README"}
    assert set(re.findall(r"\]\((\w+)\.md\)", (RUNBOOKS / "README.md").read_text())) == set(queries.alerts())


@pytest.mark.parametrize("name", sorted(queries.alerts()))
def test_a_page_says_what_it_means_what_users_see_where_to_look_and_what_to_do(name: str) -> None:
    page = (RUNBOOKS / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == list(_PARTS)
    assert all((RUNBOOKS / link).exists() for link in re.findall(r"\]\(([^)#]+)\)", page))
    assert "```sh" in page.partition("## Look first")[2].partition("## Causes")[0]


def test_every_query_asks_for_labels_that_its_metric_has() -> None:
    documented = {
        name: set(re.findall(r"`(\w+)`", labels))
        for name, labels in re.findall(r"^\| `(millrace_\w+)` \| \w \| ([^|]*)\|", _METRICS.read_text(), re.MULTILINE)
    }
    assert len(documented) > 50
    for place, query in queries.everywhere():
        for name, labels in queries.matched(query):
            if name in documented or (name := re.sub(r"_(bucket|sum|count)$", "", name)) in documented:
                assert labels <= documented[name] | _ADDED_LABELS, (place, name)


def test_no_two_panels_of_a_dashboard_overlap() -> None:
    for file in DASHBOARDS.glob("*.json"):
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(file.read_text())["panels"]:
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert not cells & taken, (file.name, panel["title"])
            assert max(x for x, _ in cells) < 24
            taken |= cells
