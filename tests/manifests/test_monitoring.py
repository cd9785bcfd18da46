"""What is scraped may be scraped, and what watches it comes with the rest."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from deploy.monitoring import dashboards, kubernetes
from fixtures import monitoring_queries as queries
from manifests.conftest import KUBERNETES, ROOT, Object, of_kind, selects

_SERVICES = ("gateway", "ingest", "processor", "notifier")
_MONITORING = {"kubernetes.io/metadata.name": "monitoring"}
# `kubectl apply` keeps what it has applied in an annotation, and annotations have this much room.
_APPLICABLE_BYTES = 256 * 1024


def _pods() -> Mapping[str, tuple[dict[str, str], Mapping[str, int]]]:
    """By what they are: their labels, and their ports by name. Of what operators start, what these call them."""
    ours = {
        service: ({"app.kubernetes.io/name": "millrace", "app.kubernetes.io/component": service}, {"http": 8080})
        for service in _SERVICES
    }
    return {
        **ours,
        "rabbitmq": ({"app.kubernetes.io/name": "millrace-rabbitmq"}, {"prometheus": 15692}),
        "postgres": ({"cnpg.io/cluster": "millrace-postgres"}, {"metrics": 9187}),
    }


def _lets_prometheus_in(policies: Mapping[str, Any], labels: Mapping[str, str], name: str, port: int) -> bool:
    return any(
        {"port": name} in rule["ports"] or {"port": port} in rule["ports"]
        for policy in policies.values()
        if selects(policy["spec"]["podSelector"], labels)
        for rule in policy["spec"].get("ingress", [])
        for peer in rule["from"]
        if peer == {"namespaceSelector": {"matchLabels": _MONITORING}}
    )


def test_prometheus_may_ask_all_that_it_is_told_to_ask(objects: Sequence[Object]) -> None:
    policies, asked = of_kind(objects, "NetworkPolicy"), set()
    for monitor in of_kind(objects, "PodMonitor").values():
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        for place, (labels, ports) in _pods().items():
            if selects(monitor["spec"]["selector"], labels):
                assert _lets_prometheus_in(policies, labels, endpoint["port"], ports[endpoint["port"]]), place
                asked.add(place)
    (postgres,) = of_kind(objects, "Cluster").values()
    assert postgres["spec"]["monitoring"] == {"enablePodMonitor": True}  # its operator makes that one
    labels, ports = _pods()["postgres"]
    assert _lets_prometheus_in(policies, labels, "metrics", ports["metrics"])
    assert asked == {*_SERVICES, "rabbitmq"}


def test_a_job_is_called_what_its_service_is_called(objects: Sequence[Object]) -> None:
    """Rules and dashboards ask by it."""
    for name in ("services", "gateway"):
        assert of_kind(objects, "PodMonitor")[name]["spec"]["jobLabel"] == "app.kubernetes.io/component"
    for service in _SERVICES:
        template = of_kind(objects, "Deployment")[service]["spec"]["template"]
        assert template["metadata"]["labels"]["app.kubernetes.io/component"] == service


def test_all_alerts_and_all_rules_are_there(objects: Sequence[Object]) -> None:
    rules = [
        rule
        for found in of_kind(objects, "PrometheusRule").values()
        for group in found["spec"]["groups"]
        for rule in group["rules"]
    ]
    assert {rule["alert"] for rule in rules if "alert" in rule} == set(queries.alerts())
    assert {rule["record"] for rule in rules if "record" in rule} == queries.recorded()


def test_every_dashboard_is_where_grafana_looks_for_it_and_can_be_applied(objects: Sequence[Object]) -> None:
    found = {
        name: config
        for name, config in of_kind(objects, "ConfigMap").items()
        if config["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
    }
    assert set(found) == {f"dashboard-{dashboard.name}" for dashboard in dashboards.ALL}
    for dashboard in dashboards.ALL:
        config = found[f"dashboard-{dashboard.name}"]
        ((file, text),) = config["data"].items()
        assert file == f"millrace-{dashboard.name}.json", "those of all namespaces come into one folder"
        assert text == (ROOT / "deploy" / "grafana" / "dashboards" / f"{dashboard.name}.json").read_text()
        assert len(json.dumps(config)) < _APPLICABLE_BYTES


def test_the_rules_ask_of_the_namespace_that_they_are_in(objects: Sequence[Object]) -> None:
    base = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())
    assert base["namespace"] == kubernetes.NAMESPACE
    assert {found["metadata"]["namespace"] for found in of_kind(objects, "PrometheusRule").values()} == {
        kubernetes.NAMESPACE
    }
