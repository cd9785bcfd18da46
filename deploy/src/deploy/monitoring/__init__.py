"""Dashboards and objectives as code: `make monitoring` writes what Grafana and Prometheus read, and a test says that it
is what is checked in."""
