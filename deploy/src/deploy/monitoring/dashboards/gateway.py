"""The door: requests, sockets, limits, and the services behind it."""

from deploy.monitoring.panels import Dashboard, Panel, Query, Row, by, quantiles, rate

_REFUSED = rate("millrace_gateway_limit_decisions_total", 'outcome="refused"')

GATEWAY = Dashboard(
    "gateway",
    "Millrace: gateway",
    "The door: requests, sockets, limits, and the services behind it.",
    [
        Row(
            "Requests",
            [
                Panel("Requests", "By route.", [Query("route:millrace_gateway_requests:rate5m", "{{route}}")], "reqps"),
                Panel(
                    "Answers",
                    "By status. 499: the client left before; 101: a WebSocket.",
                    [by("status", rate("millrace_gateway_requests_total"))],
                    "reqps",
                    stacked=True,
                ),
                Panel(
                    "Failed",
                    "5xx by route.",
                    [Query("route:millrace_gateway_requests_failed:rate5m", "{{route}}")],
                    "reqps",
                ),
                Panel(
                    "Duration",
                    "p99 by route. Sockets and uploads take as long as their clients.",
                    [Query("route:millrace_gateway_request_duration_seconds:p99_5m", "{{route}}")],
                    "s",
                ),
            ],
        ),
        Row(
            "Sockets",
            [
                Panel("Open", "WebSockets and streams of events.", [by("instance", "millrace_gateway_sockets")]),
                Panel(
                    "Room",
                    "Share of those that there may be.",
                    [Query("millrace_gateway_sockets / millrace_gateway_sockets_max", "{{instance}}")],
                    "percentunit",
                    bad_from=0.85,
                ),
                Panel("Ended here", "By code.", [by("code", rate("millrace_gateway_sockets_ended_total"))], "ops"),
            ],
        ),
        Row(
            "Behind it",
            [
                Panel(
                    "Circuits",
                    "1: requests to a service are refused, since it does not answer.",
                    [Query("max by (service) (millrace_gateway_circuit_open)", "{{service}}")],
                    bad_from=1,
                ),
                Panel(
                    "Connections",
                    "To the services.",
                    [Query("sum by (service, state) (millrace_gateway_upstream_connections)", "{{service}} {{state}}")],
                    stacked=True,
                ),
                Panel(
                    "New connections",
                    "By how it went.",
                    [
                        Query(
                            f"sum by (service, outcome) ({rate('millrace_gateway_upstream_connects_total')})",
                            "{{service}} {{outcome}}",
                        )
                    ],
                    "ops",
                ),
                Panel(
                    "Connecting",
                    "Until it was there.",
                    quantiles("millrace_gateway_upstream_connect_duration_seconds", "service"),
                    "s",
                ),
                Panel(
                    "Services' own answers",
                    "p99 by service, without the door.",
                    quantiles("millrace_http_request_duration_seconds", "job"),
                    "s",
                ),
            ],
        ),
        Row(
            "Limits and people",
            [
                Panel(
                    "Decisions",
                    "Uncounted: let through. Unavailable: refused, for nobody could count.",
                    [by("outcome", rate("millrace_gateway_limit_decisions_total"))],
                    "reqps",
                ),
                Panel(
                    "Refused",
                    "By class.",
                    [
                        Query(
                            f"sum by (limited_as) ({_REFUSED})",
                            "{{limited_as}}",
                        )
                    ],
                    "reqps",
                ),
                Panel(
                    "The limiter",
                    "One call to the database.",
                    quantiles("millrace_gateway_limiter_duration_seconds"),
                    "s",
                ),
                Panel("Logins", "By outcome.", [by("outcome", rate("millrace_logins_total"))], "ops"),
                Panel(
                    "Passwords",
                    "Refused ones had no thread.",
                    [by("outcome", rate("millrace_passwords_hashed_total"))],
                    "ops",
                ),
                Panel(
                    "Refresh tokens reused",
                    "A session was ended: somebody may have stolen it.",
                    [Query("sum(increase(millrace_refresh_tokens_reused_total[1h]))", "in an hour")],
                    bad_from=1,
                ),
            ],
        ),
    ],
)
