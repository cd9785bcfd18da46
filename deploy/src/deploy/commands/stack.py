"""`millrace stack`: the production shape on one machine."""

import asyncio
import os

import click

from deploy.commands.up import warn_of_another_database
from deploy.options import on_a_loop
from deploy.prometheus import watched
from deploy.stack import Stack
from deploy.welcome import quoted, settings_told, welcome
from events.lifecycle import stop_signal
from events.telemetry import configure_logging


@click.command()
@on_a_loop
async def stack() -> None:
    """Run the production shape: four processes, RabbitMQ, PostgreSQL (`make stack`)."""
    settings = settings_told()
    warn_of_another_database(settings, os.environ)
    stop = stop_signal()
    async with Stack.open(settings.data_dir / "stack", host=settings.host, port=settings.port) as running:
        configure_logging(running.logs / "stack.log", settings.log_level)
        welcome(running.base_url, running.admin_key_file)
        worker = (
            f"MILLRACE_BROKER_URL=$(cat {quoted(running.broker_url_file)}) .venv/bin/python deploy/examples/worker.py"
        )
        print(f"Do steps of workflows in a process of your own:\n\n  {worker}\n")
        print(f"Each process writes its log to {running.logs}/<service>.log.\n", flush=True)
        supervising = asyncio.create_task(running.supervise())
        async with watched(running) as sentence:
            print(f"{sentence}\n", flush=True)
            await stop.wait()
        supervising.cancel()
    print("Millrace has stopped.")
