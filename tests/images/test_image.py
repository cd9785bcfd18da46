"""What is in the image, and what it may do."""

import json
from collections.abc import Sequence

from images.conftest import VERSION
from images.engine import Engine

_CONFINED = (
    "run",
    "--rm",
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--network=none",
)


def confined(engine: Engine, image: str, *command: str) -> str:
    return engine(*_CONFINED, image, *command)


def test_the_image_says_what_it_is_and_is_nobody(engine: Engine, image: str) -> None:
    (found,) = json.loads(engine("image", "inspect", image))
    print(f"\nThe image has {found['Size'] / 1e6:,.0f} MB.")
    config = found["Config"]
    assert config["User"] == "10001:10001"
    assert config["Labels"]["org.opencontainers.image.version"] == VERSION
    assert config["Healthcheck"]["Test"][-1] == "/opt/millrace/healthcheck.py"
    assert confined(engine, image, "id", "-u") == "10001"


def test_every_command_starts_on_a_read_only_root_without_any_capability(engine: Engine, image: str) -> None:
    assert confined(engine, image, "millrace", "new-key").startswith("mr_live_")
    for service in ("gateway", "ingest", "processor", "notifier"):
        said = confined(engine, image, "sh", "-c", f"python -m {service} 2>&1 || true")
        assert "MILLRACE_DATABASE_URL" in said, "it starts, and says what it misses"


def test_nothing_of_the_build_is_left_in_it(engine: Engine, image: str) -> None:
    assert confined(engine, image, "sh", "-c", "ls /build /etc/uv /etc/pip.conf 2>/dev/null || true") == ""
    assert "secret" not in engine("history", "--no-trunc", "--format={{.CreatedBy}}", image)
    names = listed(engine, image, "pkg:pypi/")
    assert {"asyncpg", "fastapi", "duckdb", "millrace-processor"} <= set(names)
    assert not {"pytest", "mypy", "moto", "uv"} & set(names)


def test_the_bill_of_materials_has_all_packages_that_are_in_it(engine: Engine, image: str) -> None:
    normal = "m.Prepared.normalize(d.name).replace('_', '-')"
    names = f"import importlib.metadata as m; print(*sorted({normal} for d in m.distributions()))"
    installed = confined(engine, image, "python", "-c", names)
    assert sorted(listed(engine, image, "pkg:pypi/")) == installed.split()
    assert "libc6" in listed(engine, image, "pkg:deb/")


def listed(engine: Engine, image: str, kind: str) -> Sequence[str]:
    (found,) = json.loads(engine("image", "inspect", image))
    document = json.loads(confined(engine, image, "cat", found["Config"]["Labels"]["millrace.sbom"]))
    assert document["metadata"]["component"]["version"] == VERSION
    return [component["name"] for component in document["components"] if component["purl"].startswith(kind)]
