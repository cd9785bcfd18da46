"""What the manifests promise: pods end in order, flows are those of the picture, what is named is there."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from events.settings import ServiceSettings
from gateway.settings import GatewaySettings
from ingest.settings import IngestSettings
from manifests.conftest import KUBERNETES, ROOT, Object, of_kind, selects
from notifier.settings import NotifierSettings
from processor.settings import ProcessorSettings

SERVICES: Mapping[str, type[ServiceSettings]] = {
    "gateway": GatewaySettings,
    "ingest": IngestSettings,
    "processor": ProcessorSettings,
    "notifier": NotifierSettings,
}
# Made by whoever installs it, and by the operators: docs/operating/deploying.md.
SECRETS = {
    "millrace": {"role-password", "principal-secret", "key-pepper", "admin-key", "metrics-key"},
    "millrace-blobs": {"access-key-id", "secret-access-key"},
    "millrace-rabbitmq-default-user": {"username", "password", "connection_string"},
    "millrace-postgres-superuser": {"password"},
}


def pods(objects: Sequence[Object]) -> Iterator[tuple[str, Any]]:
    for kind in ("Deployment", "Job"):
        for name, found in of_kind(objects, kind).items():
            yield name, found["spec"]["template"]


def container(pod: Any) -> Any:
    (only,) = pod["spec"]["containers"]
    return only


def settings_of(objects: Sequence[Object]) -> dict[str, str]:
    (found,) = (found for name, found in of_kind(objects, "ConfigMap").items() if name.startswith("millrace-settings-"))
    return dict(found["data"])


def test_there_are_the_four_services_and_the_migrations(objects: Sequence[Object]) -> None:
    assert set(of_kind(objects, "Deployment")) == set(SERVICES)
    for name, pod in pods(objects):
        command = ["millrace", "provision"] if name == "millrace-migrate" else ["python", "-m", name]
        assert container(pod)["command"][: len(command)] == command


def test_what_a_pod_is_told_are_settings_of_its_service(objects: Sequence[Object]) -> None:
    shared = set(settings_of(objects))
    for service, settings in SERVICES.items():
        told = {
            entry["name"] for entry in container(of_kind(objects, "Deployment")[service]["spec"]["template"])["env"]
        }
        known = {f"MILLRACE_{name.upper()}" for name in settings.model_fields}
        assert {name for name in told if name.startswith("MILLRACE_")} <= known
        required = {f"MILLRACE_{name.upper()}" for name, field in settings.model_fields.items() if field.is_required()}
        assert required <= told
    anybodys = {f"MILLRACE_{name.upper()}" for settings in SERVICES.values() for name in settings.model_fields}
    assert {name for name in shared if name.startswith("MILLRACE_")} <= anybodys


def test_a_value_refers_only_to_variables_before_it(objects: Sequence[Object]) -> None:
    """Kubernetes leaves `$(NAME)` as it is if the variable comes later: the password would be the literal text."""
    for _, pod in pods(objects):
        before: set[str] = set()
        for entry in container(pod)["env"]:
            assert set(re.findall(r"\$\((\w+)\)", entry.get("value", ""))) <= before
            before.add(entry["name"])


def test_secrets_are_referenced_and_never_written(objects: Sequence[Object]) -> None:
    assert of_kind(objects, "Secret") == {}
    references = re.findall(r"secretKeyRef': \{'key': '([^']+)', 'name': '([^']+)'", str(objects))
    assert references
    assert [(name, key) for key, name in references if key not in SECRETS[name]] == []


def test_a_pod_ends_in_order_before_it_is_killed(objects: Sequence[Object]) -> None:
    settings = settings_of(objects)
    drain, grace = float(settings["MILLRACE_DRAIN_SECONDS"]), float(settings["MILLRACE_SHUTDOWN_GRACE"])
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    for service in SERVICES:
        pod = of_kind(objects, "Deployment")[service]["spec"]["template"]
        program, seconds = container(pod)["lifecycle"]["preStop"]["exec"]["command"]
        assert program == "sleep"
        probe = container(pod)["readinessProbe"]
        assert int(seconds) >= probe["periodSeconds"], "endpoints must be told before sockets are sent away"
        assert int(seconds) + drain + grace + 10 <= pod["spec"]["terminationGracePeriodSeconds"]
        assert drain + grace + 10 <= int(compose["services"][service]["stop_grace_period"].removesuffix("s"))


def test_pods_are_asked_at_the_right_paths(objects: Sequence[Object]) -> None:
    for found in of_kind(objects, "Deployment").values():
        probes = container(found["spec"]["template"])
        assert [probes[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")] == [
            "/livez",
            "/livez",
            "/readyz",
        ]


def test_pods_may_do_no_more_than_they_need(objects: Sequence[Object]) -> None:
    accounts = of_kind(objects, "ServiceAccount")
    assert {pod["spec"]["serviceAccountName"] for _, pod in pods(objects)} == set(accounts)
    assert all(account["automountServiceAccountToken"] is False for account in accounts.values())
    for _, pod in pods(objects):
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container(pod)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"/data", "/tmp"} <= {mount["mountPath"] for mount in container(pod)["volumeMounts"]}
        assert {"requests", "limits"} == set(container(pod)["resources"])


def test_no_service_loses_all_of_its_pods_at_once(objects: Sequence[Object]) -> None:
    budgets = of_kind(objects, "PodDisruptionBudget")
    for service in SERVICES:
        found = of_kind(objects, "Deployment")[service]
        labels = found["spec"]["selector"]["matchLabels"]
        assert budgets[service]["spec"] == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
        assert found["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        spread = found["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert [way["topologyKey"] for way in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        assert "replicas" not in found["spec"], "whoever scales it would be overruled by each release"
        assert smallest_and_largest(objects, service)[0] >= 2


def smallest_and_largest(objects: Sequence[Object], service: str) -> tuple[int, int]:
    if service in (scalers := of_kind(objects, "HorizontalPodAutoscaler")):
        return scalers[service]["spec"]["minReplicas"], scalers[service]["spec"]["maxReplicas"]
    spec = of_kind(objects, "ScaledObject")[service]["spec"]
    return spec["minReplicaCount"], spec["maxReplicaCount"]


def test_all_replicas_pools_fit_the_databases_connections(objects: Sequence[Object]) -> None:
    """Also while a release has more pods than usual; some are the operator's and the superuser's."""
    needed = 20.0
    for service, settings in SERVICES.items():
        surge = str(of_kind(objects, "Deployment")[service]["spec"]["strategy"]["rollingUpdate"]["maxSurge"])
        most = smallest_and_largest(objects, service)[1]
        more = most * float(surge[:-1]) / 100 if surge.endswith("%") else float(surge)
        needed += (most + more + 1) * settings.model_fields["database_pool_size"].default
    (cluster,) = of_kind(objects, "Cluster").values()
    assert needed <= int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])


def test_the_servers_lose_nothing_with_one_node(objects: Sequence[Object]) -> None:
    (postgres,) = of_kind(objects, "Cluster").values()
    assert postgres["spec"]["instances"] == 3
    assert postgres["spec"]["postgresql"]["synchronous"] == {"method": "any", "number": 1, "dataDurability": "required"}
    migrate = container(of_kind(objects, "Job")["millrace-migrate"]["spec"]["template"])
    assert "--lossless-failover" in migrate["command"], "each switchover would be another log, and halt its subscribers"
    (rabbitmq,) = of_kind(objects, "RabbitmqCluster").values()
    assert rabbitmq["spec"]["replicas"] == 3


def test_only_the_flows_of_the_picture_are_let_through(objects: Sequence[Object]) -> None:
    policies = of_kind(objects, "NetworkPolicy")
    assert policies["default-deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    places = [*SERVICES, "migrate", "postgres", "rabbitmq"]
    flows = {
        (source, target)
        for source in places
        for target in places
        if source != target and _lets(policies, source, target, "egress") and _lets(policies, target, source, "ingress")
    }
    assert flows == {
        ("gateway", "ingest"),
        ("gateway", "processor"),
        ("gateway", "notifier"),
        ("notifier", "gateway"),
        ("migrate", "postgres"),
        *((service, server) for service in SERVICES for server in ("postgres", "rabbitmq")),
    }


def test_the_operators_pod_is_let_to_the_database_as_its_owner_and_gets_no_requests(objects: Sequence[Object]) -> None:
    pod = yaml.safe_load((KUBERNETES / "operator.yaml").read_text())
    labels = pod["metadata"]["labels"]
    assert labels == _labels("migrate")
    assert [name for name, found in of_kind(objects, "Service").items() if _is_part(found["spec"], labels)] == []
    assert "postgresql://millrace_owner:$(ROLE_PASSWORD)@" in str(container(pod)["env"])
    references = re.findall(r"secretKeyRef': \{'name': '([^']+)', 'key': '([^']+)'", str(pod))
    assert [(name, key) for name, key in references if key not in SECRETS[name]] == []
    assert len(references) == 2


def _is_part(service: Any, labels: Mapping[str, str]) -> bool:
    return bool(service["selector"].items() <= labels.items())


def _labels(place: str) -> dict[str, str]:
    if place == "postgres":
        return {"cnpg.io/cluster": "millrace-postgres"}
    if place == "rabbitmq":
        return {"app.kubernetes.io/name": "millrace-rabbitmq"}
    return {"app.kubernetes.io/name": "millrace", "app.kubernetes.io/component": place}


def _lets(policies: dict[str, Any], pod: str, other: str, direction: str) -> bool:
    """Whether the pod may talk to the other one's door (egress), or be talked to by it at its own (ingress)."""
    door = {"postgres": 5432, "rabbitmq": 5672}.get(other if direction == "egress" else pod, 8080)
    for policy in policies.values():
        if not selects(policy["spec"]["podSelector"], _labels(pod)):
            continue
        for rule in policy["spec"].get(direction, []):
            numbers = {8080 if port["port"] == "http" else port["port"] for port in rule["ports"]}
            peers = rule.get("to" if direction == "egress" else "from", [])
            if door in numbers and any(
                "podSelector" in p and "namespaceSelector" not in p and selects(p["podSelector"], _labels(other))
                for p in peers
            ):
                return True
    return False


def test_the_processors_grow_by_figures_that_there_are(objects: Sequence[Object]) -> None:
    """KEDA takes a metric that nobody has for zero: nothing would ever grow."""
    documented = (ROOT / "docs" / "operating" / "metrics.md").read_text()
    triggers = of_kind(objects, "ScaledObject")["processor"]["spec"]["triggers"]
    asked = {name for trigger in triggers for name in re.findall(r"millrace_\w+", trigger["metadata"].get("query", ""))}
    assert asked == {"millrace_jobs", "millrace_jobs_oldest_waiting_age_seconds"}
    assert {name for name in asked if f"`{name}`" not in documented} == set()
