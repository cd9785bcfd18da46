"""The first look: do users get what was promised, and if not, in which part to look on."""

from deploy.monitoring.objectives import OBJECTIVES
from deploy.monitoring.panels import Dashboard, Panel, Query, Row, by, rate

# Every process in a cluster says what it uses.
_OURS = "and on (job, instance) millrace_build_info"

OVERVIEW = Dashboard(
    "overview",
    "Millrace: overview",
    "Do users get what was promised, and if not, where to look on.",
    [
        Row(
            "Promises",
            [
                Panel(
                    f"{objective.name}: budget burnt",
                    f"{objective.says} 1 uses up just the {objective.budget * 100:g} % that may, in thirty days.",
                    [
                        Query(f"{objective.record('1h')} / {objective.budget:g}", "1 hour"),
                        Query(f"{objective.record('3d')} / {objective.budget:g}", "3 days"),
                    ],
                    kind="stat",
                    bad_from=1,
                    width=6,
                )
                for objective in OBJECTIVES
            ],
        ),
        Row(
            "Alerts and processes",
            [
                Panel(
                    "Alerts",
                    "Firing now. Each has a page in docs/operating/runbooks.",
                    [Query('ALERTS{alertstate="firing"}')],
                    kind="table",
                    width=12,
                ),
                Panel(
                    "Replicas that answer",
                    "Fewer than you started: ServiceIsDown.",
                    [by("job", 'up{job=~"gateway|ingest|processor|notifier"}')],
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Versions",
                    "One, but during an upgrade.",
                    [Query("count by (service, version) (millrace_build_info)", "{{service}} {{version}}")],
                    kind="stat",
                    width=6,
                ),
            ],
        ),
        Row(
            "What goes through",
            [
                Panel(
                    "Requests", "At the door.", [Query("sum(route:millrace_gateway_requests:rate5m)", "all")], "reqps"
                ),
                Panel(
                    "Failed requests",
                    "5xx. The dashboard of the gateway says where.",
                    [Query("route:millrace_gateway_requests_failed:rate5m", "{{route}}")],
                    "reqps",
                ),
                Panel("Events", "Appended to the log.", [Query("millrace:append_events:rate5m", "events")], "ops"),
                Panel(
                    "From the fact to the frame",
                    "p99 of how old an event is when it is told. Promised: half a second.",
                    [Query("millrace:notifier_event_age_seconds:p99_5m", "p99")],
                    "s",
                    bad_from=0.5,
                ),
                Panel(
                    "Jobs",
                    "Waiting ones should not grow for long.",
                    [Query("max by (state) (millrace_jobs)", "{{state}}")],
                    stacked=True,
                ),
                Panel("Open sockets", "At the notifiers.", [by("instance", "millrace_notifier_connections")]),
            ],
        ),
        Row(
            "What the processes have left",
            [
                Panel(
                    "Event loop lag",
                    "p99. What every request and event waits besides.",
                    [Query("job:millrace_event_loop_lag_seconds:p99_5m", "{{job}}")],
                    "s",
                    bad_from=0.25,
                ),
                Panel(
                    "CPU",
                    "Cores that each process uses.",
                    [by("instance", f"{rate('process_cpu_seconds_total')} {_OURS}")],
                ),
                Panel(
                    "Memory",
                    "Resident. It may rise with connections and jobs, and falls again.",
                    [Query(f"process_resident_memory_bytes {_OURS}", "{{job}} {{instance}}")],
                    "bytes",
                ),
            ],
        ),
    ],
)
