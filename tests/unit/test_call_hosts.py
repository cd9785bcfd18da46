"""The operator's patterns, and the URLs that they allow."""

import pytest

from events.errors import StartupError
from processor.builtin.hosts import HostPattern, read_url
from processor.settings import ProcessorSettings
from processor.step import StepError


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("api.example.com", "https://api.example.com/a?b"),
        ("api.example.com", "http://api.example.com"),
        ("api.example.com", "https://API.Example.COM:443/"),
        ("API.example.com", "http://api.example.com:80?q"),
        ("*.example.com", "https://a.example.com/"),
        ("*.example.com", "https://a.b.example.com/"),
        ("*.example.com:8443", "https://a.example.com:8443/"),
        ("example.com:8443", "http://example.com:8443/"),
        ("example.com:80", "https://example.com:80/"),
        ("intern_al", "http://intern_al/"),
        ("xn--bcher-kva.example", "https://xn--bcher-kva.example/"),
        ("8.8.8.8", "https://8.8.8.8/"),
        ("[2001:4860:4860:0::8888]:53", "http://[2001:4860:4860::8888]:53/"),
    ],
)
def test_a_pattern_allows_what_it_names(pattern: str, url: str) -> None:
    read_url(url, [HostPattern.parse("other.example"), HostPattern.parse(pattern)])


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("api.example.com", "https://example.com/"),
        ("api.example.com", "https://a.api.example.com/"),
        ("api.example.com", "https://api.example.com.evil.com/"),
        ("api.example.com", "https://api.example.com:8443/"),
        ("api.example.com", "https://api.example.com:80/"),
        ("api.example.com", "http://api.example.com:443/"),
        ("*.example.com", "https://example.com/"),
        ("*.example.com", "https://evilexample.com/"),
        ("*.example.com", "https://a.example.com:8443/"),
        ("example.com:8443", "https://example.com/"),
        ("example.com:8443", "https://example.com:443/"),
        ("8.8.8.8", "https://8.8.4.4/"),
    ],
)
def test_a_pattern_allows_nothing_else(pattern: str, url: str) -> None:
    with pytest.raises(StepError) as refused:
        read_url(url, [HostPattern.parse(pattern)])
    assert refused.value.code == "host_not_allowed"


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "",
            "*",
            "*.",
            "*.*.com",
            "a.*.com",
            "*example.com",
            ".example.com",
            "example.com.",
            "a..b",
            "-a.com",
            "a-.com",
        ),
        *(
            "https://example.com",
            "example.com/",
            "example.com:",
            "example.com:0",
            "example.com:65536",
            "example.com:080",
        ),
        *("user@example.com", "exa mple.com", "bücher.example", "example.com\n", "127.1", "0x7f.1", "*.1", "1.2.3.4.5"),
        *("::1", "[::1", "[fe80::1%eth0]", "[::g]", "a" * 64, "a." * 130 + "com", "\u212aelvin.example"),
    ],
)
def test_a_pattern_that_is_no_host_is_refused_at_the_start(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_DATABASE_URL", "postgresql://x")
    monkeypatch.setenv("MILLRACE_PRINCIPAL_SECRET", "s" * 32)
    with pytest.raises(StartupError) as refused:
        ProcessorSettings.from_environment(http_hosts=[pattern])
    assert "MILLRACE_HTTP_HOSTS.0" in refused.value.detail


def test_hosts_are_read_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_DATABASE_URL", "postgresql://x")
    monkeypatch.setenv("MILLRACE_PRINCIPAL_SECRET", "s" * 32)
    assert ProcessorSettings.from_environment().http_hosts == ()
    monkeypatch.setenv("MILLRACE_HTTP_HOSTS", '["api.example.com", "*.example.org:8443"]')
    assert ProcessorSettings.from_environment().http_hosts == ("api.example.com", "*.example.org:8443")


def test_a_refused_url_is_not_repeated() -> None:
    with pytest.raises(StepError) as refused:
        read_url("https://user:secret@example.com/", [HostPattern.parse("example.com")])
    assert "secret" not in refused.value.detail
