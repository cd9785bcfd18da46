"""Which file has what."""

import json
from pathlib import Path
from typing import Any

import yaml

from deploy.monitoring import dashboards, kubernetes, objectives

_DEPLOY = Path(__file__).parents[3]
PROMETHEUS = _DEPLOY / "prometheus"
GRAFANA = _DEPLOY / "grafana"
DASHBOARDS = GRAFANA / "dashboards"
KUBERNETES_RULES = _DEPLOY / "kubernetes" / "base" / "rules.yaml"
RUNBOOKS = _DEPLOY.parent / "docs" / "operating" / "runbooks"
_OBJECTIVES = PROMETHEUS / "rules" / "objectives.yml"
_WRITTEN_BY = "# Written by `make monitoring` from deploy/{}.\n"


def files() -> dict[Path, str]:
    """All that is generated, by its place in this repository."""
    written = {path: yaml.safe_load(path.read_text()) for path in (PROMETHEUS / "rules").glob("*.yml")}
    rules = written | {_OBJECTIVES: objectives.rules()}
    objects = [kubernetes.rule(path.stem, rules[path]) for path in sorted(rules)]
    names = [dashboard.name for dashboard in dashboards.ALL]
    return {
        _OBJECTIVES: _WRITTEN_BY.format("src/deploy/monitoring/objectives.py") + _yaml(objectives.rules()),
        KUBERNETES_RULES: _WRITTEN_BY.format("prometheus/rules") + "---\n".join(map(_yaml, objects)),
        GRAFANA / "kustomization.yaml": _WRITTEN_BY.format("src/deploy/monitoring/kubernetes.py")
        + _yaml(kubernetes.dashboards(names)),
    } | {
        DASHBOARDS / f"{dashboard.name}.json": json.dumps(dashboard.json(), indent=2, ensure_ascii=False) + "\n"
        for dashboard in dashboards.ALL
    }


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=1000, allow_unicode=True)
