"""The same as Kubernetes wants it: rules as objects of Prometheus' operator, and a kustomization that makes ConfigMaps
of the dashboards' files."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

NAMESPACE = "millrace"  # what deploy/kubernetes/base puts everything in

# What every process says: the Prometheus of a whole cluster has it of others, too. Strings are passed over.
_ANYBODYS = re.compile(r'"(?:[^"\\]|\\.)*"|\b(up|process_[a-z_]+)\b(?!\s*[(:])(\{)?')


def rule(name: str, file: Mapping[str, Any]) -> dict[str, Any]:
    """A rule file of Prometheus as an object of its operator."""
    groups = [
        {**group, "rules": [{**rule, "expr": ours(rule["expr"])} for rule in group["rules"]]}
        for group in file["groups"]
    ]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": name},
        "spec": {"groups": groups},
    }


def ours(query: str) -> str:
    """The query, of nobody's processes but ours."""

    def confined(found: re.Match[str]) -> str:
        name, more = found.groups()
        if name is None:
            return found[0]
        return f'{name}{{namespace="{NAMESPACE}"' + ("," if more else "}")

    return _ANYBODYS.sub(confined, query)


def dashboards(names: Iterable[str]) -> dict[str, Any]:
    """A kustomization that makes a ConfigMap of each, as the sidecar of Grafana's Helm charts looks for them."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        # Nothing mounts them, so a changed one needs no other name: it would leave the old one behind.
        "generatorOptions": {"disableNameSuffixHash": True, "labels": {"grafana_dashboard": "1"}},
        "configMapGenerator": [
            # Those of all namespaces come into one folder.
            {"name": f"dashboard-{name}", "files": [f"millrace-{name}.json=dashboards/{name}.json"]}
            for name in names
        ],
    }
