"""Which file has what."""

import json
from pathlib import Path

import yaml

from deploy.monitoring import dashboards, objectives

_DEPLOY = Path(__file__).parents[3]
PROMETHEUS = _DEPLOY / "prometheus"
DASHBOARDS = _DEPLOY / "grafana" / "dashboards"
RUNBOOKS = _DEPLOY.parent / "docs" / "operating" / "runbooks"
_WRITTEN_BY = "# Written by `make monitoring` from deploy/src/deploy/monitoring/objectives.py.\n"


def files() -> dict[Path, str]:
    """All that is generated, by its place in this repository."""
    rules = yaml.safe_dump(objectives.rules(), sort_keys=False, width=1000, allow_unicode=True)
    return {PROMETHEUS / "rules" / "objectives.yml": _WRITTEN_BY + rules} | {
        DASHBOARDS / f"{dashboard.name}.json": json.dumps(dashboard.json(), indent=2, ensure_ascii=False) + "\n"
        for dashboard in dashboards.ALL
    }
