"""What `make run` and `make stack` are told: where to listen, where to keep the data."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from events.errors import StartupError


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
            raise StartupError(f"Settings are wrong: {wrong}.") from None
