"""What a dashboard of Grafana is made of, as far as ours use it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# Chosen at the top of each dashboard, so that they work wherever they are imported.
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT = 24, 8
_SCHEMA_VERSION = 39  # of Grafana 10; later ones read it


@dataclass(frozen=True, slots=True)
class Query:
    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    says: str  # what is good, and what is not
    queries: Sequence[Query]
    unit: str = "short"
    kind: str = "timeseries"  # or `stat`, `table`
    stacked: bool = False
    bad_from: float | None = None  # drawn red from here on
    width: int = 8

    def json(self, number: int, x: int, y: int) -> dict[str, Any]:
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.says,
            "datasource": SOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": _HEIGHT},
            "targets": [self._target(query, letter) for query, letter in zip(self.queries, "ABCDEFGH", strict=False)],
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": self._options(),
        }

    def _target(self, query: Query, letter: str) -> dict[str, Any]:
        at_once = self.kind != "timeseries"
        return {
            "refId": letter,
            "datasource": SOURCE,
            "expr": query.expr,
            "legendFormat": query.legend or "__auto",
            "range": not at_once,
            "instant": at_once,
            "exemplar": not at_once and "_bucket" in query.expr,
            **({"format": "table"} if self.kind == "table" else {}),
        }

    def _defaults(self) -> dict[str, Any]:
        steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
        if self.bad_from is not None:
            steps.append({"color": "red", "value": self.bad_from})
        drawn = {
            "lineWidth": 1,
            "fillOpacity": 30 if self.stacked else 5,
            "showPoints": "never",
            "stacking": {"mode": "normal" if self.stacked else "none"},
            "thresholdsStyle": {"mode": "off" if self.bad_from is None else "dashed"},
        }
        return {
            "unit": self.unit,
            "thresholds": {"mode": "absolute", "steps": steps},
            **({"custom": drawn, "min": 0} if self.kind == "timeseries" else {}),
        }

    def _options(self) -> dict[str, Any]:
        if self.kind == "stat":
            return {
                "colorMode": "background",
                "reduceOptions": {"calcs": ["lastNotNull"]},
                "textMode": "value_and_name",
            }
        if self.kind == "table":
            return {"showHeader": True}
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Dashboard:
    name: str  # of its file, and in its address
    title: str
    says: str
    rows: Sequence[Row]
    tenant_from: str | None = None  # a metric whose label `tenant` can be chosen from

    def json(self) -> dict[str, Any]:
        return {
            "uid": f"millrace-{self.name}",
            "title": self.title,
            "description": self.says,
            "tags": ["millrace"],
            "timezone": "utc",
            "schemaVersion": _SCHEMA_VERSION,
            "editable": False,
            "refresh": "30s",
            "time": {"from": "now-3h", "to": "now"},
            "links": [{"type": "dashboards", "title": "Millrace", "tags": ["millrace"], "asDropdown": True}],
            "templating": {"list": [*self._variables()]},
            "panels": [*self._placed()],
        }

    def _variables(self) -> Iterator[dict[str, Any]]:
        yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
        if self.tenant_from is not None:
            asked = f"label_values({self.tenant_from}, tenant)"
            yield {
                "name": "tenant",
                "label": "Tenant",
                "type": "query",
                "datasource": SOURCE,
                "definition": asked,
                "query": {"query": asked, "refId": "tenants"},
                "refresh": 2,
                "multi": True,
                "includeAll": True,
                "allValue": ".*",
                "current": {"text": "All", "value": "$__all"},
            }

    def _placed(self) -> Iterator[dict[str, Any]]:
        """From left to right, and a new line where one is full or a row begins."""
        number = y = 0
        for row in self.rows:
            number += 1
            head = {"x": 0, "y": y, "w": _WIDTH, "h": 1}
            yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": head, "panels": []}
            x, y = 0, y + 1
            for panel in row.panels:
                if x + panel.width > _WIDTH:
                    x, y = 0, y + _HEIGHT
                number += 1
                yield panel.json(number, x, y)
                x += panel.width
            y += _HEIGHT


def by(label: str, expr: str, legend: str | None = None) -> Query:
    """The sum of it for each value of a label."""
    return Query(f"sum by ({label}) ({expr})", legend or f"{{{{{label}}}}}")


def rate(metric: str, labels: str = "") -> str:
    return f"rate({metric}{{{labels}}}[$__rate_interval])" if labels else f"rate({metric}[$__rate_interval])"


def quantiles(histogram: str, label: str | None = None) -> list[Query]:
    """p50 and p99 of a histogram; of each value of a label only p99."""
    if label is not None:
        return [
            Query(
                f"histogram_quantile(0.99, sum by ({label}, le) ({rate(f'{histogram}_bucket')}))",
                f"p99 {{{{{label}}}}}",
            )
        ]
    return [
        Query(f"histogram_quantile({share}, sum by (le) ({rate(f'{histogram}_bucket')}))", name)
        for share, name in ((0.5, "p50"), (0.99, "p99"))
    ]


def mean(histogram: str) -> Query:
    return Query(f"sum({rate(f'{histogram}_sum')}) / sum({rate(f'{histogram}_count')})", "mean")
