from pathlib import Path

import pytest

from deploy.settings import unknown_settings
from events.errors import StartupError
from events.settings import ServiceSettings
from gateway.settings import GatewaySettings
from ingest.settings import IngestSettings
from notifier.settings import NotifierSettings
from processor.settings import ProcessorSettings


def test_missing_and_wrong_settings_are_all_named_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MILLRACE_DATABASE_URL", raising=False)
    monkeypatch.setenv("MILLRACE_PRINCIPAL_SECRET", "short")
    monkeypatch.setenv("MILLRACE_PORT", "70000")
    with pytest.raises(StartupError) as refused:
        ServiceSettings.from_environment()
    for name in ("MILLRACE_DATABASE_URL", "MILLRACE_PRINCIPAL_SECRET", "MILLRACE_PORT"):
        assert name in refused.value.detail
    assert "short" not in refused.value.detail, "a wrong secret is still a secret"


def test_settings_are_read_from_the_environment_and_hide_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_DATABASE_URL", "postgresql://millrace:hunter2@127.0.0.1/millrace")
    monkeypatch.setenv("MILLRACE_PRINCIPAL_SECRET", "s" * 32)
    settings = ServiceSettings.from_environment()
    assert settings.port == 0
    assert "hunter2" not in repr(settings)
    assert "ssss" not in repr(settings)


@pytest.mark.parametrize("settings", [GatewaySettings, IngestSettings, ProcessorSettings, NotifierSettings])
def test_every_setting_is_in_the_readme(settings: type[ServiceSettings]) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    missing = [name for name in settings.model_fields if f"`MILLRACE_{name.upper()}`" not in readme]
    assert missing == []


def test_what_looks_like_a_setting_and_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MILLRACE_RETENTION_SECOND", "MILLRACE_RETENTION_SECONDS", "MILLRACE_URL"):
        monkeypatch.setenv(name, "5")
    said = "MILLRACE_RETENTION_SECOND is no setting of ours. Did you mean MILLRACE_RETENTION_SECONDS?"
    assert said in unknown_settings()
    assert not any("MILLRACE_URL" in sentence or "SECONDS is" in sentence for sentence in unknown_settings())
