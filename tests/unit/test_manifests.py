"""What can be said of the manifests without a program that renders them; the rest is in tests/manifests."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from deploy.monitoring.files import GRAFANA, KUBERNETES_RULES
from deploy.monitoring.kubernetes import ours
from deploy.packages import debian_program

_DEPLOY = Path(__file__).parents[2] / "deploy"
_KUBERNETES = _DEPLOY / "kubernetes"
_CHECKOV = _DEPLOY / "linters" / "checkov.yaml"
_KUSTOMIZATIONS = [GRAFANA / "kustomization.yaml", *sorted(_KUBERNETES.rglob("kustomization.yaml"))]


def _named(kustomization: Path) -> Iterator[Path]:
    """The files and folders that it is made of."""
    document = yaml.safe_load(kustomization.read_text())
    names = [*document.get("resources", ()), *(patch["path"] for patch in document.get("patches", ()))]
    for generated in document.get("configMapGenerator", ()):
        names += generated.get("envs", [])
        names += [file.rpartition("=")[2] for file in generated.get("files", ())]
    return ((kustomization.parent / name).resolve() for name in names)


@pytest.mark.parametrize("kustomization", _KUSTOMIZATIONS, ids=lambda path: path.parent.name)
def test_all_that_a_kustomization_names_is_there_and_all_that_is_there_is_named(kustomization: Path) -> None:
    named = set(_named(kustomization))
    assert {path for path in named if not (path / "kustomization.yaml" if path.is_dir() else path).is_file()} == set()
    pattern = "dashboards/*" if kustomization.parent == GRAFANA else "*.*"
    assert {path for path in kustomization.parent.glob(pattern) if path != kustomization} - named == set()


def _merged(base: Any, patch: Any) -> Any:
    """As Kustomize merges a patch into what it has no schema of (RFC 7396)."""
    if not isinstance(base, dict) or not isinstance(patch, dict):
        return patch
    return base | {name: _merged(base.get(name), value) for name, value in patch.items()}


def _objects(*folders: str) -> Mapping[tuple[str, str], Any]:
    """By kind and name; what a later folder says of an object that an earlier one has is a patch of it."""
    found: dict[tuple[str, str], Any] = {}
    for file in (path for folder in folders for path in sorted((_KUBERNETES / folder).glob("*.yaml"))):
        for document in yaml.safe_load_all(file.read_text()):
            if "metadata" in document:
                name = document["kind"], document["metadata"]["name"]
                found[name] = _merged(found.get(name, {}), document)
    return found


@pytest.mark.parametrize("overlay", ["small", "large"])
def test_the_operators_objects_have_the_fields_that_we_have_read_of(overlay: str) -> None:
    schemas: Mapping[str, Any] = yaml.safe_load((_DEPLOY / "linters" / "custom_resources.yaml").read_text())
    of_operators = {
        name: found for name, found in _objects("base", f"overlays/{overlay}").items() if name[0] in schemas
    }
    assert {kind for kind, _ in of_operators} == set(schemas)
    for (kind, name), found in of_operators.items():
        validator = jsonschema_rs.validator_for({"type": "object", **schemas[kind]})
        assert [f"{name}: {error}" for error in validator.iter_errors(found["spec"])] == []


def test_a_clusters_prometheus_takes_the_rules(tmp_path: Path) -> None:
    for found in yaml.safe_load_all(KUBERNETES_RULES.read_text()):
        (tmp_path / f"{found['metadata']['name']}.yml").write_text(yaml.safe_dump(found["spec"]))
    command = [debian_program("prometheus", "promtool"), "check", "rules", "--lint=all", *tmp_path.glob("*.yml")]
    outcome = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert len(list(tmp_path.iterdir())) == 3


def test_nobody_is_woken_by_the_processes_of_others() -> None:
    """One Prometheus watches all of a cluster, and every process in it has open files: `process_open_fds` would be
    asked of all of them, and `up{job="gateway"}` is also true of somebody else's gateway."""
    assert ours('up{job="gateway"} == 0') == 'up{namespace="millrace",job="gateway"} == 0'
    assert ours("process_open_fds / process_max_fds > 0.8") == (
        'process_open_fds{namespace="millrace"} / process_max_fds{namespace="millrace"} > 0.8'
    )
    of_ours = 'sum by (job) (rate(millrace_jobs{state="up"}[5m]))'
    assert ours(of_ours) == of_ours
    asked = re.findall(r"\b(?:up|process_\w+)\b(.{0,22})", KUBERNETES_RULES.read_text())
    assert len(asked) > 5
    assert {rest for rest in asked if not rest.startswith('{namespace="millrace"')} == set()


def test_no_waiver_lacks_its_reason() -> None:
    waivers = re.findall(r"^  - (CKV\w+)(.*)$", _CHECKOV.read_text(), re.MULTILINE)
    assert len(waivers) == len(yaml.safe_load(_CHECKOV.read_text())["skip-check"])
    ignored = re.findall(r"^# hadolint (ignore=\S+)(.*)$", (_DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert [name for name, reason in [*waivers, *ignored] if not re.fullmatch(r"  # .{20,}", reason)] == []
    elsewhere = [
        file for file in _KUBERNETES.rglob("*.yaml") if "checkov" in file.read_text() or "hadolint" in file.read_text()
    ]
    assert elsewhere == []
