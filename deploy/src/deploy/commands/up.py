"""`millrace up`: everything in one process."""

import os
from collections.abc import Mapping

import click

from deploy.data_directory import open_data_directory
from deploy.embedded import open_embedded
from deploy.options import on_a_loop
from deploy.printing import note
from deploy.settings import DeploySettings
from deploy.welcome import settings_told, welcome
from events.errors import StartupError
from events.lifecycle import stop_signal
from events.running import garbage
from events.telemetry import configure_logging


@click.command()
@on_a_loop
async def up() -> None:
    """Run everything in one process, on embedded parts (`make run`)."""
    settings = settings_told()
    warn_of_another_database(settings, os.environ)
    if settings.broker_url.get_secret_value() not in ("", "memory://"):
        raise StartupError(
            "MILLRACE_BROKER_URL is set, and `make run` has a broker of its own, in its memory. Unset it, "
            "or use `make stack`, which runs RabbitMQ."
        )
    stop = stop_signal()
    with open_data_directory(settings.data_dir) as data:
        configure_logging(data.logs / "millrace.log", settings.log_level)
        async with open_embedded(data, settings.host, settings.port) as address:
            welcome(address.url, data.admin_key_file)
            with garbage.seldom():
                await stop.wait()
    print("Millrace has stopped.")


def warn_of_another_database(settings: DeploySettings, environment: Mapping[str, str]) -> None:
    """It is no reason not to start: whoever looks after a deployment has it set."""
    if environment.get("MILLRACE_DATABASE_URL"):
        note(
            f"MILLRACE_DATABASE_URL is set, and not used: this runs a database of its own, in {settings.data_dir}. "
            "Other commands of `millrace` go to the one that it names."
        )
