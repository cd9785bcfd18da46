"""Whether anybody collects spans, by OpenTelemetry's standard settings. By default nobody does."""

import os


def are_collected() -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = os.environ.get("OTEL_TRACES_EXPORTER", "").strip()
    return "otlp" in exporters.split(",") if exporters else setting_of_traces("ENDPOINT") is not None


def setting_of_traces(name: str) -> str | None:
    return os.environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") or None
