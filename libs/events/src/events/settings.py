"""What every service is told at its start: typed, validated, read once from `MILLRACE_*`."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from events.errors import StartupError

_STORES = ("s3://", "gs://", "az://", "file://")


def _store_url(url: str) -> str:
    """Anything else would be taken for a folder."""
    if url and not url.startswith(_STORES):
        raise ValueError("it begins with s3://, gs://, az:// or file://")
    return url


class ServiceSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="MILLRACE_", frozen=True, extra="ignore")

    host: str = "127.0.0.1"  # address to listen on
    port: int = Field(default=0, ge=0, le=65535)  # port to listen on; 0 takes a free one
    data_dir: Path = Path(".millrace")  # where local blobs, logs and the embedded database live
    database_url: SecretStr  # postgresql://role:password@host:port/database
    broker_url: SecretStr = SecretStr("memory://")  # amqp://user:password@host:port/vhost, or memory:// in one process
    blobs_url: Annotated[str, AfterValidator(_store_url)] = (
        ""  # s3://, gs://, az:// or file://; empty means <data_dir>/blobs
    )
    principal_secret: SecretStr = Field(min_length=32)  # shared by the services; signs principals between them
    database_pool_size: int = Field(default=8, ge=2, le=200)  # connections per service
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"  # what reaches the console
    shutdown_grace: float = Field(default=10.0, ge=0)  # seconds that open requests get to finish on SIGTERM

    @classmethod
    def from_environment(cls, **given: Any) -> Self:
        """The settings, those that are given before those of the environment; or a sentence that names each variable
        that is missing or wrong."""
        try:
            return cls(**given)
        except ValidationError as invalid:
            wrong = "; ".join(
                f"{_variable(error['loc'])}: {error['msg'].removeprefix('Value error, ')}"
                for error in invalid.errors(include_input=False)
            )
            raise StartupError(f"Settings are missing or wrong: {wrong}.") from None
        except SettingsError as unreadable:  # it names the setting, and does not repeat what was given
            raise StartupError(f"Settings are wrong, JSON is expected: {unreadable}.") from None


def _variable(place: tuple[int | str, ...]) -> str:
    """The variable, and where in its JSON: MILLRACE_LIMITS.read"""
    name, *within = map(str, place)
    return ".".join([f"MILLRACE_{name.upper()}", *within])


class OutboxSettings(ServiceSettings):
    """Of a service that has something to tell the log, and does not append by itself."""

    outbox_sweep_seconds: float = Field(default=1.0, gt=0)  # seconds between looks for open outbox rows
    outbox_retry_seconds: float = Field(default=3.0, gt=0)  # seconds until an open outbox row is published again


class BodySettings(ServiceSettings):
    """Of a service that takes files."""

    body_idle_seconds: float = Field(default=15.0, gt=0)  # seconds that a body may pause before it is given up
    body_slowest_bytes_per_second: int = Field(default=256, ge=0)  # bytes per second that a body must bring on average
