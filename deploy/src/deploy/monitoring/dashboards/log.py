"""The log, who reads it, and the broker: where events come from and go to."""

from deploy.monitoring.panels import Dashboard, Panel, Query, Row, by, mean, quantiles, rate

_NOT_CONFIRMED = rate("millrace_broker_publishes_total", 'outcome=~"failed|unroutable"')

_POOL_USED = (
    'sum by (instance) (millrace_database_pool_connections{state="used"})'
    " / sum by (instance) (millrace_database_pool_connections_max)"
)

LOG = Dashboard(
    "log",
    "Millrace: log and relay",
    "The log, who reads it, and the broker.",
    [
        Row(
            "Appending",
            [
                Panel("Events appended", "By process.", [by("instance", rate("millrace_append_events_total"))], "ops"),
                Panel(
                    "One append",
                    "A call with its commit.",
                    quantiles("millrace_append_duration_seconds"),
                    "s",
                    bad_from=0.5,
                ),
                Panel(
                    "Events in an append",
                    "It grows with the load: that is how the log keeps up.",
                    [mean("millrace_append_batch_events")],
                ),
                Panel(
                    "What became of requests",
                    "Conflicts are decided anew; failed ones were told so.",
                    [by("outcome", rate("millrace_append_requests_total"))],
                    "ops",
                ),
                Panel("Callers that wait", "For the next call.", [by("instance", "millrace_append_waiting")]),
                Panel("Head", "Position of the newest event.", [Query("max(millrace_log_head_position)", "head")]),
            ],
        ),
        Row(
            "Reading",
            [
                Panel(
                    "Behind, in seconds",
                    "Relays: below a second. Subscribers: as slow as they are.",
                    [Query("reader:millrace_log_reader_lag_seconds:max", "{{reader}}")],
                    "s",
                    bad_from=30,
                ),
                Panel(
                    "Behind, in events",
                    "By reader.",
                    [Query("max by (reader) (millrace_log_reader_lag_events)", "{{reader}}")],
                ),
                Panel("Relayed", "Published and confirmed.", [by("relay", rate("millrace_relay_events_total"))], "ops"),
                Panel(
                    "A batch of a relay",
                    "From reading it to the saved checkpoint.",
                    quantiles("millrace_relay_batch_duration_seconds", "relay"),
                    "s",
                ),
                Panel(
                    "Events in a batch",
                    "500 at most: then the relay has fallen behind.",
                    [mean("millrace_relay_batch_events")],
                ),
            ],
        ),
        Row(
            "Broker",
            [
                Panel(
                    "Publishing",
                    "Until it is confirmed.",
                    quantiles("millrace_broker_publish_duration_seconds", "exchange"),
                    "s",
                ),
                Panel(
                    "Not confirmed",
                    "Unroutable: a queue is missing. Failed: it is tried again.",
                    [Query(f"sum by (job, exchange, outcome) ({_NOT_CONFIRMED})", "{{job}} {{exchange}} {{outcome}}")],
                    "ops",
                ),
                Panel(
                    "Ready in queues",
                    "The intake should be empty, the dead letters too: they are drained into a table.",
                    [Query("max by (queue) (millrace_queue_messages)", "{{queue}}")],
                    bad_from=1000,
                ),
                Panel(
                    "Intake",
                    "How old an event of the edge is when it is taken into the log.",
                    quantiles("millrace_intake_event_age_seconds"),
                    "s",
                    bad_from=2.5,
                ),
                Panel(
                    "Taken from queues",
                    "Parked ones are dead letters.",
                    [
                        Query(
                            f"sum by (queue, outcome) ({rate('millrace_consumer_messages_total')})",
                            "{{queue}} {{outcome}}",
                        )
                    ],
                    "ops",
                ),
                Panel("Tried again", "Handling failed.", [by("queue", rate("millrace_consumer_retries_total"))], "ops"),
                Panel(
                    "Outbox",
                    "Age of the oldest event that the log does not hold. Some seconds are normal.",
                    [Query("max by (job) (millrace_outbox_oldest_age_seconds)", "{{job}}")],
                    "s",
                    bad_from=300,
                ),
                Panel(
                    "Dead letters",
                    "That nobody has replayed.",
                    [Query("max(millrace_dead_letters_waiting)", "waiting")],
                    bad_from=1,
                ),
            ],
        ),
        Row(
            "PostgreSQL",
            [
                Panel(
                    "Connections in use",
                    "Of the share that each process may have.",
                    [
                        Query(
                            _POOL_USED,
                            "{{instance}}",
                        )
                    ],
                    "percentunit",
                    bad_from=0.9,
                ),
                Panel(
                    "Callers that wait for one",
                    "Should be 0.",
                    [by("instance", "millrace_database_pool_waiting")],
                    bad_from=1,
                ),
                Panel(
                    "Waiting for one",
                    "Until a caller had it.",
                    quantiles("millrace_database_pool_wait_duration_seconds", "job"),
                    "s",
                ),
            ],
        ),
    ],
)
