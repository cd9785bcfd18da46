"""Who uses it, and who waits. Of tenants, a process keeps the first fifty apart that it meets, and the twenty with most
unfinished jobs; the others are `other` (deploy/decisions/0033-dashboards-and-alerts.md)."""

from deploy.monitoring.panels import Dashboard, Panel, Query, Row, by, rate

_CHOSEN = 'tenant=~"$tenant"'
_REQUESTS = rate("millrace_gateway_tenant_requests_total", _CHOSEN)
_FAILED = rate("millrace_gateway_tenant_requests_total", _CHOSEN + ',status="5xx"')
_REFUSED = rate("millrace_gateway_tenant_requests_total", _CHOSEN + ',status=~"4xx|5xx"')
_MOST = f"topk(10, sum by (tenant) (increase(millrace_gateway_tenant_requests_total{{{_CHOSEN}}}[$__range])))"
_FINISHED = rate("millrace_tenant_jobs_finished_total", _CHOSEN)

TENANTS = Dashboard(
    "tenants",
    "Millrace: tenants",
    "Who uses it, and who waits. `other` is all whom the processes do not keep apart.",
    [
        Row(
            "Requests",
            [
                Panel("Requests", "With a credential, by whose.", [by("tenant", _REQUESTS)], "reqps", width=12),
                Panel(
                    "Failed or refused",
                    "5xx are ours, 4xx theirs.",
                    [Query(f"sum by (tenant, status) ({_REFUSED})", "{{tenant}} {{status}}")],
                    "reqps",
                    width=12,
                ),
                Panel("Most requests", "In the time that is shown.", [Query(_MOST)], kind="table", width=12),
                Panel(
                    "Share of 5xx",
                    "One tenant alone: its data. All: us.",
                    [Query(f"sum by (tenant) ({_FAILED}) / sum by (tenant) ({_REQUESTS})", "{{tenant}}")],
                    "percentunit",
                    width=12,
                ),
            ],
        ),
        Row(
            "Jobs",
            [
                Panel(
                    "Waiting",
                    "Of the twenty with most unfinished jobs.",
                    [Query(f'max by (tenant) (millrace_tenant_jobs{{{_CHOSEN},state="waiting"}})', "{{tenant}}")],
                    stacked=True,
                ),
                Panel(
                    "Working",
                    "Tenants take turns by this.",
                    [Query(f'max by (tenant) (millrace_tenant_jobs{{{_CHOSEN},state="working"}})', "{{tenant}}")],
                    stacked=True,
                ),
                Panel(
                    "Finished",
                    "By outcome.",
                    [Query(f"sum by (tenant, outcome) ({_FINISHED})", "{{tenant}} {{outcome}}")],
                    "ops",
                ),
            ],
        ),
    ],
    tenant_from="millrace_gateway_tenant_requests_total",
)
