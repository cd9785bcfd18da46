"""The manifests as kustomize renders them, and the programs that look at them."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("small", "large")
LINTERS = ROOT / ".tools" / "linters" / "bin"
_RENDERERS = (("kustomize", "build"), ("kubectl", "kustomize"))

Object = Mapping[str, Any]
Rendered = Mapping[str, Sequence[Object]]


def pytest_configure(config: pytest.Config) -> None:
    if not any(shutil.which(program) for program, _ in _RENDERERS):
        raise pytest.UsageError("Neither kustomize (5.1 or later) nor kubectl (1.28 or later) was found: install one.")


@pytest.fixture(scope="session")
def rendered_files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """By overlay."""
    folder = tmp_path_factory.mktemp("manifests")
    command = next(command for command in _RENDERERS if shutil.which(command[0]))
    for overlay in OVERLAYS:
        with (folder / f"{overlay}.yaml").open("w") as file:
            subprocess.run([*command, str(KUBERNETES / "overlays" / overlay)], stdout=file, check=True)
    return {overlay: folder / f"{overlay}.yaml" for overlay in OVERLAYS}


@pytest.fixture(scope="session")
def rendered(rendered_files: Mapping[str, Path]) -> Rendered:
    return {overlay: list(yaml.safe_load_all(file.read_text())) for overlay, file in rendered_files.items()}


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest, rendered: Rendered) -> Sequence[Object]:
    """All objects of an overlay."""
    return rendered[request.param]


def of_kind(objects: Sequence[Object], kind: str) -> dict[str, Any]:
    """By name."""
    return {found["metadata"]["name"]: found for found in objects if found["kind"] == kind}


def selects(selector: Any, labels: Mapping[str, str]) -> bool:
    """As Kubernetes takes a selector of labels."""
    exactly = selector.get("matchLabels", {}).items() <= labels.items()
    return exactly and all(
        expression["operator"] == "In" and labels.get(expression["key"]) in expression["values"]
        for expression in selector.get("matchExpressions", [])
    )
