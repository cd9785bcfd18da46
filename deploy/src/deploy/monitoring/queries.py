"""Every query of the rules and dashboards that are checked in, and what it asks for."""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from deploy.monitoring.files import DASHBOARDS, PROMETHEUS, RUNBOOKS

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_METRIC = re.compile(r"\b(?:millrace|process|python|objective|route|job|reader|step)(?:_[a-z0-9_]+|:\w+(?::\w+)?)\b")
_LABELS_ONLY = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")


def everywhere() -> Iterator[tuple[str, str]]:
    """Where it stands, and the query."""
    for name, rule in _rules():
        yield name, rule["expr"]
    yield from runbooks()
    for file in sorted(DASHBOARDS.glob("*.json")):
        dashboard = json.loads(file.read_text())
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield f"{dashboard['title']}: {panel['title']}: {target['refId']}", target["expr"]
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{dashboard['title']}: ${variable['name']}", variable["definition"]


def runbooks() -> Iterator[tuple[str, str]]:
    """The same of the queries that a runbook tells to ask."""
    for file in sorted(RUNBOOKS.glob("*.md")):
        for query in re.findall(r"^promtool query instant \S+ '(.+)'$", file.read_text(), re.MULTILINE):
            yield file.name, query


def alerts() -> dict[str, dict[str, Any]]:
    """By name; of several of one name, the last."""
    return {rule["alert"]: rule for _, rule in _rules() if "alert" in rule}


def recorded() -> set[str]:
    return {rule["record"] for _, rule in _rules() if "record" in rule}


def metrics(query: str) -> set[str]:
    """The names of the series that it reads."""
    return set(_METRIC.findall(_LABELS_ONLY.sub("", _STRING.sub('""', query))))


def matched(query: str) -> Iterator[tuple[str, set[str]]]:
    """Each series that it selects by labels, and these."""
    for name, selector in re.findall(r"(\w[\w:]*)\{([^}]*)\}", query):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", selector))


def without_variables(query: str) -> str:
    """As Grafana would send it, with everything chosen."""
    asked = re.sub(r"label_values\((.*), *\w+\)", r"\1", query)
    return asked.replace("$__rate_interval", "1m").replace("$__range", "1h").replace("$tenant", ".*")


def _rules() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted((PROMETHEUS / "rules").glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for number, rule in enumerate(group["rules"]):
                name = rule.get("alert") or rule["record"]
                yield f"{file.name}: {name} ({number})", rule
