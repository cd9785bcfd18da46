"""The compose file's topology does its work, confined as it says, and its services end in order."""

import json
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from images.debian import OWN
from images.engine import Engine
from images.topology import Topology, open_topology

_JOB_SECONDS = 300.0
_SCRAPE_SECONDS = 180.0
_TICK_SECONDS = 0.25


@pytest.fixture(scope="module")
def topology(engine: Engine, base: str, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    folder = tmp_path_factory.mktemp("compose")
    with open_topology(engine, folder, base=base, stand_ins=base == OWN) as opened:
        yield opened


def ask(topology: Topology, path: str, data: bytes | None = None) -> Any:
    headers = {"X-API-Key": topology.admin_key, "Content-Type": "text/csv"}
    request = urllib.request.Request(f"http://127.0.0.1:{topology.port}{path}", data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def a_job_of_a_file(topology: Topology) -> Any:
    """Its end."""
    accepted = ask(
        topology, "/api/v1/uploads?workflow=csv-profile&filename=people.csv", b"name,age\nAda,36\nGrace,45\n"
    )
    deadline = time.monotonic() + _JOB_SECONDS
    while (job := ask(topology, f"/api/v1/jobs/{accepted['job_id']}"))["status"] in ("PENDING", "PROCESSING"):
        assert time.monotonic() < deadline, job
        time.sleep(_TICK_SECONDS)
    return job


def test_a_file_that_is_uploaded_through_the_gateway_is_profiled(topology: Topology) -> None:
    assert set(ask(topology, "/health").values()) >= {"ok"}
    job = a_job_of_a_file(topology)
    assert (job["status"], job["result"]["rows"]) == ("COMPLETED", 2)


@pytest.mark.parametrize("service", ["gateway", "ingest", "processor", "notifier"])
def test_each_service_is_confined(topology: Topology, service: str) -> None:
    (container,) = topology.containers(service)
    assert container["Config"]["User"] == "10001:10001"
    host = container["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Init"]
    refused = "touch /opt/millrace/x 2>/dev/null || touch /etc/x 2>/dev/null || echo refused"
    assert topology.engine("exec", container["Id"], "sh", "-c", refused) == "refused"
    capabilities = "grep CapEff /proc/self/status"
    assert topology.engine("exec", container["Id"], "sh", "-c", capabilities).endswith("0" * 16)


def test_more_replicas_share_the_work(topology: Topology) -> None:
    more = ("--scale", "ingest=2", "--scale", "processor=2", "--scale", "notifier=2")
    topology.compose(
        "up",
        "--detach",
        "--no-build",
        "--no-deps",
        "--no-recreate",
        *more,
        "gateway",
        "ingest",
        "processor",
        "notifier",
    )
    topology.wait_until_healthy()
    assert {service: len(topology.containers(service)) for service in ("ingest", "processor", "notifier")} == {
        "ingest": 2,
        "processor": 2,
        "notifier": 2,
    }
    assert {a_job_of_a_file(topology)["status"] for _ in range(6)} == {"COMPLETED"}


def test_prometheus_asks_every_replica_and_has_our_rules(topology: Topology) -> None:
    (prometheus,) = topology.containers("prometheus")

    def answered(query: str) -> str:
        return topology.engine("exec", prometheus["Id"], "promtool", "query", "instant", "http://127.0.0.1:9090", query)

    services = {"gateway": 1, "ingest": 2, "processor": 2, "notifier": 2}
    deadline = time.monotonic() + _SCRAPE_SECONDS
    while (found := Counter(re.findall(r'job="(\w+)"', answered("up == 1")))) != services:
        assert time.monotonic() < deadline, (found, answered("up"))
        time.sleep(_TICK_SECONDS)
    while "relay.feed" not in answered("reader:millrace_log_reader_lag_seconds:max"):  # a rule's
        assert time.monotonic() < deadline
        time.sleep(_TICK_SECONDS)
    print(f"\n{answered('up')}", end="")


def test_services_end_in_order_within_their_time_and_come_again(topology: Topology) -> None:
    for service in ("processor", "ingest", "notifier", "gateway"):
        began = time.monotonic()
        topology.compose("stop", service)
        took = time.monotonic() - began
        codes = [container["State"]["ExitCode"] for container in topology.containers(service)]
        print(f"\n{service} has stopped in {took:.1f} s with {codes}.", end="")
        assert set(codes) == {0}, "killed, or dead by itself"
        topology.compose("start", service)
    topology.wait_until_healthy()
    assert a_job_of_a_file(topology)["status"] == "COMPLETED"
