"""Which file has what."""

from pathlib import Path

import yaml

from deploy.monitoring import objectives

_DEPLOY = Path(__file__).parents[3]
PROMETHEUS = _DEPLOY / "prometheus"
_WRITTEN_BY = "# Written by `make monitoring` from deploy/src/deploy/monitoring/objectives.py.\n"


def files() -> dict[Path, str]:
    """All that is generated, by its place in this repository."""
    return {PROMETHEUS / "rules" / "objectives.yml": _WRITTEN_BY + _as_yaml(objectives.rules())}


def _as_yaml(document: object) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=1000, allow_unicode=True)
