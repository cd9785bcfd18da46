"""What `make run` and `make stack` are told: where to listen, where to keep the data."""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.exits import WrongSettings
from gateway.settings import GatewaySettings
from ingest.settings import IngestSettings
from notifier.settings import NotifierSettings
from processor.settings import ProcessorSettings

# What else is read from the environment: by commands, by examples.
_OTHERS = frozenset({"MILLRACE_ADMIN_DATABASE_URL", "MILLRACE_ROLE_PASSWORD", "MILLRACE_URL", "MILLRACE_KEY"})
_SERVICES = (GatewaySettings, IngestSettings, NotifierSettings, ProcessorSettings)


class DeploySettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="MILLRACE_", frozen=True, extra="ignore")

    host: str = "127.0.0.1"  # address that the gateway listens on
    port: int = Field(default=8080, ge=0, le=65535)  # port that the gateway listens on; 0 takes a free one
    data_dir: Path = Path(".millrace")  # where everything is kept
    broker_url: SecretStr = SecretStr("memory://")  # only to be refused where it would not be used
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"  # what reaches the console

    @classmethod
    def from_environment(cls) -> Self:
        try:
            return cls()
        except ValidationError as invalid:
            wrong = "; ".join(f"MILLRACE_{str(error['loc'][0]).upper()}: {error['msg']}" for error in invalid.errors())
            raise WrongSettings(f"Settings are wrong: {wrong}.") from None


def unknown_settings() -> list[str]:
    """A sentence for each variable that looks like a setting and is none."""
    known = {
        f"MILLRACE_{name.upper()}" for settings in (DeploySettings, *_SERVICES) for name in settings.model_fields
    } | _OTHERS
    return [
        f"{name} is no setting of ours."
        + "".join(f" Did you mean {near}?" for near in get_close_matches(name, known, 1))
        for name in sorted(os.environ.keys() - known)
        if name.startswith("MILLRACE_")
    ]
