"""The notifiers: how far the log is told, to how many, and who is too slow."""

from deploy.monitoring.panels import Dashboard, Panel, Query, Row, by, quantiles, rate

FANOUT = Dashboard(
    "fanout",
    "Millrace: fan-out",
    "The notifiers: how far the log is told, to how many, and who is too slow.",
    [
        Row(
            "Telling",
            [
                Panel(
                    "From the fact to the frame",
                    "How old an event is when it is told.",
                    quantiles("millrace_notifier_event_age_seconds"),
                    "s",
                    bad_from=0.5,
                ),
                Panel(
                    "Behind, in seconds",
                    "By notifier.",
                    [Query("millrace_notifier_lag_seconds", "{{instance}}")],
                    "s",
                    bad_from=10,
                ),
                Panel("Behind, in events", "By notifier.", [Query("millrace_notifier_lag_events", "{{instance}}")]),
                Panel(
                    "Events heard",
                    "Each notifier hears all of its log.",
                    [by("instance", rate("millrace_notifier_events_total"))],
                    "ops",
                ),
                Panel(
                    "Deliveries",
                    "An event to a connection.",
                    [by("instance", rate("millrace_notifier_frames_total"))],
                    "ops",
                ),
                Panel(
                    "Read from the log instead",
                    "What the feed did not bring.",
                    [by("instance", rate("millrace_notifier_feed_repaired_events_total"))],
                    "ops",
                ),
            ],
        ),
        Row(
            "Depth",
            [
                Panel(
                    "A round",
                    "What is due to everybody, written.",
                    quantiles("millrace_notifier_round_duration_seconds"),
                    "s",
                ),
                Panel(
                    "Due bytes",
                    "They wait for the next round.",
                    [by("instance", "millrace_notifier_due_bytes")],
                    "bytes",
                ),
                Panel(
                    "Due cohorts",
                    "Groups of followers to whom something is due.",
                    [by("instance", "millrace_notifier_due_cohorts")],
                ),
            ],
        ),
        Row(
            "Clients",
            [
                Panel("Connections", "Open.", [by("instance", "millrace_notifier_connections")]),
                Panel(
                    "Room",
                    "Share of the connections that there may be.",
                    [Query("millrace_notifier_connections / millrace_notifier_connections_max", "{{instance}}")],
                    "percentunit",
                    bad_from=0.85,
                ),
                Panel(
                    "Opened", "By dialect.", [by("dialect", rate("millrace_notifier_connections_opened_total"))], "ops"
                ),
                Panel(
                    "Ended",
                    "By reason: a close code, client, stalled, failed, lost.",
                    [by("why", rate("millrace_notifier_connections_ended_total"))],
                    "ops",
                ),
                Panel(
                    "Refused handshakes",
                    "By status.",
                    [by("status", rate("millrace_notifier_handshakes_refused_total"))],
                    "ops",
                ),
                Panel(
                    "Subscriptions",
                    "Each counted for each connection.",
                    [by("instance", "millrace_notifier_followers")],
                ),
                Panel(
                    "Too slow",
                    "Clients that could not be told live.",
                    [by("instance", rate("millrace_notifier_demotions_total"))],
                    "ops",
                ),
                Panel(
                    "Told from the log",
                    "To who was behind.",
                    [by("instance", rate("millrace_notifier_catch_up_events_total"))],
                    "ops",
                ),
            ],
        ),
    ],
)
