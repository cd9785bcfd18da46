"""Jobs and their steps: who waits for what."""

from deploy.monitoring.panels import Dashboard, Panel, Query, Row, by, quantiles, rate

JOBS = Dashboard(
    "jobs",
    "Millrace: jobs",
    "Jobs and their steps: who waits for what.",
    [
        Row(
            "Jobs",
            [
                Panel(
                    "Unfinished",
                    "Waiting: could begin. Blocked: by a limit. Later: at a time. Resting: for a person or a worker.",
                    [Query("max by (state) (millrace_jobs)", "{{state}}")],
                    stacked=True,
                ),
                Panel(
                    "Finished",
                    "By outcome.",
                    [by("outcome", rate("millrace_jobs_finished_total"))],
                    "ops",
                    stacked=True,
                ),
                Panel(
                    "The longest wait",
                    "Of a job that could begin.",
                    [Query("max(millrace_jobs_oldest_waiting_age_seconds)", "oldest")],
                    "s",
                    bad_from=300,
                ),
                Panel(
                    "Until the first step",
                    "From a job's creation.",
                    quantiles("millrace_job_wait_duration_seconds"),
                    "s",
                ),
                Panel(
                    "Whole jobs", "From creation to end.", quantiles("millrace_job_duration_seconds", "outcome"), "s"
                ),
                Panel(
                    "By workflow",
                    "Finished; the first fifty workflows by name.",
                    [by("workflow", rate("millrace_jobs_finished_total"))],
                    "ops",
                ),
            ],
        ),
        Row(
            "Workers",
            [
                Panel(
                    "Jobs in hand",
                    "Of those that a process may have.",
                    [
                        Query(
                            "millrace_jobs_working / millrace_jobs_working_max",
                            "{{instance}}",
                        )
                    ],
                    "percentunit",
                    bad_from=0.95,
                ),
                Panel(
                    "Leases",
                    "Age of the one not renewed for longest, in leases. Beyond 1 its worker is dead.",
                    [Query("max(millrace_jobs_lease_oldest_age_seconds) / max(millrace_jobs_lease_seconds)", "oldest")],
                    bad_from=3,
                ),
                Panel(
                    "Leases lost",
                    "Somebody else has taken the job.",
                    [by("instance", rate("millrace_leases_lost_total"))],
                    "ops",
                ),
                Panel("Processes of steps", "Busy and idle.", [by("state", "millrace_step_processes")], stacked=True),
                Panel(
                    "Steps that wait for one",
                    "More cores or more processors help.",
                    [by("instance", "millrace_step_processes_waiting")],
                ),
                Panel(
                    "Slow turns",
                    "One job has kept the event loop for more than 0.1 s.",
                    [by("instance", rate("millrace_slow_turns_total"))],
                    "ops",
                ),
            ],
        ),
        Row(
            "Steps",
            [
                Panel("Attempts", "By step.", [by("step", rate("millrace_step_duration_seconds_count"))], "ops"),
                Panel(
                    "Failed attempts",
                    "Share of the last 15 minutes.",
                    [Query("step:millrace_steps_failed:ratio_rate15m", "{{step}}")],
                    "percentunit",
                    bad_from=0.5,
                ),
                Panel("Duration", "p99 of an attempt.", quantiles("millrace_step_duration_seconds", "step"), "s"),
                Panel(
                    "Waiting for a process", "Before an attempt.", quantiles("millrace_step_wait_duration_seconds"), "s"
                ),
                Panel(
                    "Remote tasks",
                    "Unsent, waiting for a worker, being worked on.",
                    [Query("max by (state) (millrace_remote_tasks)", "{{state}}")],
                    stacked=True,
                ),
                Panel(
                    "Oldest remote task",
                    "By state.",
                    [Query("max by (state) (millrace_remote_tasks_oldest_age_seconds)", "{{state}}")],
                    "s",
                    bad_from=300,
                ),
            ],
        ),
        Row(
            "What starts them",
            [
                Panel("Uploads", "Accepted.", [by("instance", rate("millrace_uploads_accepted_total"))], "ops"),
                Panel(
                    "Bytes",
                    "Of accepted uploads.",
                    [by("instance", rate("millrace_upload_bytes_accepted_total"))],
                    "Bps",
                ),
                Panel(
                    "Schedules", "Firings by outcome.", [by("outcome", rate("millrace_schedule_firings_total"))], "ops"
                ),
            ],
        ),
    ],
)
