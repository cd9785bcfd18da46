"""deploy/compose.yaml, run by whichever Compose there is."""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from deploy.packages import debian_program
from deploy.process import free_port
from gateway.auth.keys import new_key
from images.conftest import ROOT, VERSION
from images.engine import Engine

_COMPOSE = ROOT / "deploy" / "compose.yaml"
_STAND_INS = ROOT / "tests" / "images" / "stand_ins"
_PROJECT = "millrace-test"
_OURS = ("ingest", "processor", "notifier", "gateway")
_READY_SECONDS = 600.0
_TICK_SECONDS = 1.0


class Topology:
    def __init__(self, engine: Engine, folder: Path, *, stand_ins: bool) -> None:
        self.engine = engine
        self.port = free_port()
        self.admin_key = new_key()
        env = folder / "env"
        env.write_text(
            f"MILLRACE_PASSWORD={secrets.token_hex(24)}\n"
            f"MILLRACE_PRINCIPAL_SECRET={secrets.token_hex(32)}\n"
            f"MILLRACE_KEY_PEPPER={secrets.token_hex(32)}\n"
            f"MILLRACE_ADMIN_KEY={self.admin_key}\n"
            f"GRAFANA_PASSWORD={secrets.token_hex(24)}\n"
            f"MILLRACE_PORT={self.port}\n"
            f"MILLRACE_VERSION={VERSION}\n"
        )
        program, file = _compose(engine, folder, self.admin_key)
        stand_ins_file = [f"--file={_STAND_INS / 'compose.yaml'}"] if stand_ins else []
        self._command = [
            *program,
            f"--project-directory={_COMPOSE.parent}",
            f"--env-file={env}",
            f"--project-name={_PROJECT}",
            f"--file={file}",
            *stand_ins_file,
        ]

    def compose(self, *arguments: str) -> str:
        return self.engine.run(*self._command, *arguments)

    def containers(self, service: str) -> list[dict[str, Any]]:
        """Those that run, and those that have ended."""
        labels = {"project": _PROJECT, "service": service, "oneoff": "False"}
        filters = [f"--filter=label=com.docker.compose.{name}={value}" for name, value in labels.items()]
        found = self.engine("ps", "--all", "--quiet", *filters).split()
        return list(json.loads(self.engine("inspect", *found))) if found else []

    def wait_until_healthy(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            states = {name: [_health(found) for found in self.containers(name)] for name in _OURS}
            if all(found and set(found) == {"healthy"} for found in states.values()):
                return
            assert time.monotonic() < deadline, f"{states}\n{self.compose('logs', '--tail=20')}"
            time.sleep(_TICK_SECONDS)


def _health(container: dict[str, Any]) -> str:
    state = container["State"]
    return str(state["Health"]["Status"]) if state["Running"] else f"exited with {state['ExitCode']}"


def _compose(engine: Engine, folder: Path, ops_key: str) -> tuple[list[str], Path]:
    """Docker's own Compose and the file as it is; else Debian's, which is older."""
    if engine.succeeds("compose", "version"):
        return [engine.docker, "compose"], _COMPOSE
    return [str(debian_program("docker-compose", "docker-compose"))], _in_an_old_form(folder, ops_key)


def _in_an_old_form(folder: Path, ops_key: str) -> Path:
    """Debian's Compose 1.29 knows neither a project's name nor secrets from the environment. All else stays, but
    Grafana, of which Debian has none, and the port of Prometheus, which the machine's own may have."""
    document = yaml.safe_load(_COMPOSE.read_text())
    del document["name"], document["services"]["grafana"], document["secrets"]
    (folder / "ops-key").write_text(ops_key)
    prometheus = document["services"]["prometheus"]
    del prometheus["secrets"], prometheus["ports"]
    prometheus["volumes"].append(f"{folder / 'ops-key'}:/run/secrets/ops-key:ro")
    old = folder / "compose.yaml"
    old.write_text(yaml.safe_dump(document))
    return old


@contextmanager
def open_topology(engine: Engine, folder: Path, *, base: str, stand_ins: bool) -> Iterator[Topology]:
    if stand_ins:
        engine("build", f"--build-arg=BASE={base}", "--network=host", "--tag=millrace-stand-ins", _STAND_INS)
    topology = Topology(engine, folder, stand_ins=stand_ins)
    try:
        topology.compose("up", "--detach", "--no-build", *_OURS, "prometheus")
        topology.wait_until_healthy()
        yield topology
    finally:
        topology.compose("down", "--volumes", "--timeout=60")
