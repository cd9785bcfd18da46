"""`http.call` between honest peers: what is sent, what comes back, and what a failure is called."""

import asyncio
import gzip
import json
import socket
import traceback
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fixtures.attempts import EFFECT, TRACE, an_attempt
from fixtures.http_peers import Authority, Dns, answer, ask, http_call, peer, read_request
from processor.builtin.http_call import addresses_of
from processor.step import StepError


async def test_a_json_answer_is_the_steps_output_with_its_status_and_headers_in_lower_case() -> None:
    says = answer(b'{"rows": [1, 2.5, null]}', "X-Two: a", "X-TWO: b", content_type="application/json; charset=utf-8")
    async with peer(says) as seen:
        assert await ask(seen) == {
            "status": 200,
            "headers": {
                "content-type": "application/json; charset=utf-8",
                "content-length": "24",
                "x-two": "a, b",
            },
            "body": {"rows": [1, 2.5, None]},
        }


@pytest.mark.parametrize(
    ("content_type", "sent", "body"),
    [
        ("text/plain", "grün".encode(), "grün"),
        ("text/plain; charset=ISO-8859-1", b"gr\xfcn", "grün"),
        ('text/html; charset="utf-16"', "grün".encode("utf-16"), "grün"),
        ("application/problem+json", b"\xef\xbb\xbf[1]", [1]),
        ("application/octet-stream", b"a,b\n1,2\n", "a,b\n1,2\n"),
        ("application/json", b"", None),
    ],
)
async def test_an_answer_is_decoded_as_its_type_says(content_type: str, sent: bytes, body: object) -> None:
    async with peer(answer(sent, content_type=content_type)) as seen:
        assert (await ask(seen))["body"] == body


@pytest.mark.parametrize(
    ("content_type", "sent", "code"),
    [
        ("image/png", b"\x89PNG\r\n\x1a\n\x00\x00", "answer_not_text"),
        ("text/plain", b"a\x00b", "answer_not_text"),
        ("text/plain", b"gr\xfcn", "answer_not_text"),
        ("text/plain; charset=idna", b"xn--" + b"a" * 1000, "answer_not_text"),
        ("text/plain; charset=unicode_escape", b"\\q", "answer_not_text"),
        ("application/json", b"{", "answer_not_json"),
        ("application/json", b"NaN", "answer_not_json"),
        ("application/json", b"[" * 100_000, "answer_not_json"),
        ("application/json", b"1" * 100_000, "answer_not_json"),
    ],
)
async def test_an_answer_that_is_neither_text_nor_json_fails_the_step(
    content_type: str, sent: bytes, code: str
) -> None:
    async with peer(answer(sent, content_type=content_type)) as seen:
        with pytest.raises(StepError) as failed:
            await ask(seen)
    assert failed.value.code == code


@pytest.mark.parametrize(
    ("encoding", "encoded"),
    [("gzip", gzip.compress(b"long " * 1000, mtime=0)), ("deflate", zlib.compress(b"long " * 1000))],
)
async def test_a_compressed_answer_is_decompressed(encoding: str, encoded: bytes) -> None:
    async with peer(answer(encoded, f"Content-Encoding: {encoding}")) as seen:
        assert (await ask(seen))["body"] == "long " * 1000


@pytest.mark.parametrize(
    ("body", "content_type", "sent"),
    [
        ("as it is\n", "text/plain; charset=utf-8", b"as it is\n"),
        ({"ü": [1, None]}, "application/json", '{"ü":[1,null]}'.encode()),
        ([], "application/json", b"[]"),
        (None, "application/json", b"null"),
        ("x" * 3_000_000, "text/plain; charset=utf-8", b"x" * 3_000_000),
    ],
)
async def test_a_text_is_sent_as_it_is_and_anything_else_as_json(body: Any, content_type: str, sent: bytes) -> None:
    async with peer(answer()) as seen:
        await ask(seen, method="POST", body=body)
    assert (seen.last.body, seen.last.headers["content-type"]) == (sent, content_type)


async def test_the_request_is_what_the_definition_says() -> None:
    headers = {"Authorization": "Bearer secret", "content-type": "text/csv", "X-Empty": "", "Cookie": "a=b"}
    async with peer(answer()) as seen:
        url = f"HTTP://API.test:{seen.port}/a%2Fb/../c;d?q=%41+b&é=1 2"
        await ask(seen, url=url, method="PUT", headers=headers, body="a,b")
    assert seen.last.line == "PUT /a%2Fb/../c;d?q=%41+b&%C3%A9=1%202 HTTP/1.1"
    assert seen.last.headers["host"] == f"api.test:{seen.port}"
    assert seen.last.headers["authorization"] == "Bearer secret"
    assert seen.last.headers["content-type"] == "text/csv"
    assert seen.last.headers["x-empty"] == ""
    assert seen.last.headers["cookie"] == "a=b"
    assert seen.last.headers["user-agent"] == "Millrace"
    assert seen.last.headers["connection"] == "close"
    assert seen.last.headers["traceparent"].split("-")[1] == TRACE


@pytest.mark.parametrize(
    ("method", "key"),
    [("GET", None), ("HEAD", None), *((method, str(EFFECT)) for method in ("POST", "PUT", "PATCH", "DELETE"))],
)
async def test_what_changes_something_carries_the_same_key_in_every_attempt(method: str, key: str | None) -> None:
    async with peer(answer()) as seen:
        await ask(seen, method=method)
    assert seen.last.line == f"{method} / HTTP/1.1"
    assert seen.last.headers.get("idempotency-key") == key


async def test_a_key_of_the_definitions_own_is_left_alone() -> None:
    async with peer(answer()) as seen:
        await ask(seen, method="POST", headers={"idempotency-key": "mine"})
    assert seen.last.headers["idempotency-key"] == "mine"


@pytest.mark.parametrize(
    ("status", "expect", "code"),
    [
        ("200 OK", None, None),
        ("204 No Content", None, None),
        ("304 Not Modified", None, None),
        ("404 Not Found", [200, 404], None),
        ("503 Unavailable", [503], None),
        ("200 OK", [201], "unexpected_status"),
        ("302 Found", [200], "unexpected_status"),
        ("101 Switching Protocols", None, "unexpected_status"),
        ("400 Bad Request", None, "http_client_error"),
        ("404 Not Found", [200], "http_client_error"),
        ("429 Too Many Requests", None, "http_too_many_requests"),
        ("500 Internal Server Error", None, "http_server_error"),
        ("503 Unavailable", [200], "http_server_error"),
        ("599 ?", None, "http_server_error"),
        ("999 ?", None, "unexpected_status"),
    ],
)
async def test_a_status_fails_the_step_with_the_code_of_its_class_unless_it_is_expected(
    status: str, expect: list[int] | None, code: str | None
) -> None:
    parameters: dict[str, Any] = {} if expect is None else {"expect": expect}
    async with peer(answer(status=status)) as seen:
        if code is None:
            assert (await ask(seen, **parameters))["status"] == int(status[:3])
        else:
            with pytest.raises(StepError) as failed:
                await ask(seen, **parameters)
            assert failed.value.code == code


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with peer(answer(b"secret")) as inside:
        target = f"http://127.0.0.1:{inside.port}/latest/meta-data"
        async with peer(answer(b"", f"Location: {target}", status="302 Found")) as seen:
            got = await ask(seen)
    assert (got["status"], got["headers"]["location"]) == (302, target)
    assert inside.connections == 0


async def test_cookies_are_neither_kept_nor_told() -> None:
    says = answer(b"", "Set-Cookie: session=secret; Path=/")
    async with peer(says) as seen, http_call(f"api.test:{seen.port}") as call:
        for _ in range(2):
            got = await call(an_attempt(), {"url": f"http://api.test:{seen.port}/"})
    assert "secret" not in json.dumps(got)
    assert [asked.headers.get("cookie") for asked in seen.asked] == [None, None]


async def test_proxies_and_passwords_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine api.test login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with peer(answer()) as proxy, peer(answer()) as seen:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await ask(seen)
    assert (proxy.connections, seen.connections) == (0, 1)
    assert "authorization" not in seen.last.headers


async def test_tls_is_verified_by_the_hosts_name_although_the_connection_goes_to_an_address(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with peer(answer(b"private"), tls=authority.server("api.test")) as seen:
        got = await ask(seen, scheme="https", given={"tls": authority.trust})
    assert (got["body"], seen.sni) == ("private", ["api.test"])


@pytest.mark.parametrize("wrong", ["another name", "expired", "unknown authority", "no TLS"])
async def test_a_server_that_cannot_prove_its_name_gets_no_request(wrong: str, tmp_path: Path) -> None:
    async def in_clear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await reader.read(1 << 16)
        assert b"secret" not in hello
        writer.write(answer(status="400 Bad Request"))

    authority = Authority(tmp_path)
    name, days = "evil.test" if wrong == "another name" else "api.test", -1 if wrong == "expired" else 1
    trust = Authority(tmp_path).trust if wrong == "unknown authority" else authority.trust
    plain = wrong == "no TLS"
    async with peer(in_clear if plain else answer(), tls=None if plain else authority.server(name, days=days)) as seen:
        with pytest.raises(StepError) as failed:
            await ask(seen, scheme="https", given={"tls": trust}, headers={"Authorization": "secret"})
    assert failed.value.code == "tls_failed"
    assert seen.asked == []


async def test_nobody_there_is_a_failed_connection() -> None:
    async with peer(answer()) as gone:
        pass
    with pytest.raises(StepError) as failed:
        await ask(gone)
    assert failed.value.code == "connection_failed"


async def test_a_name_without_an_address_is_told_so() -> None:
    async with peer(answer()) as seen:
        with pytest.raises(StepError) as failed:
            await ask(seen, given={"dns": Dns(())})
    assert failed.value.code == "name_not_resolved"


async def test_a_name_that_dns_does_not_know_is_told_so() -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, f"{host}:{port} is not known")

    async with peer(answer()) as seen:
        with pytest.raises(StepError) as failed:
            await ask(seen, given={"dns": unknown})
    assert (failed.value.code, seen.connections) == ("name_not_resolved", 0)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_the_systems_own_names_and_addresses_are_found(host: str) -> None:
    async with peer(answer(b"here")) as seen, http_call(f"{host}:{seen.port}", dns=addresses_of) as call:
        got = await call(an_attempt(), {"url": f"http://{host}:{seen.port}/"})
    assert got["body"] == "here"


FAILURES = {
    "status": answer(status="500 Oh"),
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive",
    "garbage": b"\x00\x01\x02",
    "silence": b"",
    "too large": answer(b"x" * 2000),
    "not json": answer(b"{secret", content_type="application/json"),
    "long header": answer(b"", f"X: {'x' * 9000}"),
}


@pytest.mark.parametrize("says", FAILURES.values(), ids=FAILURES.keys())
async def test_no_failure_repeats_what_may_be_a_credential(says: bytes) -> None:
    async with peer(says) as seen:
        with pytest.raises(StepError) as failed:
            await ask(
                seen,
                url=f"http://api.test:{seen.port}/secret/path?token=secret",
                headers={"Authorization": "Bearer secret"},
                method="PUT",
                body="secret",
                given={"http_answer_bytes": 1000},
            )
    assert "secret" not in "".join(traceback.format_exception(failed.value))
    assert "api.test" in failed.value.detail


async def test_progress_says_who_is_asked() -> None:
    told: list[tuple[float, str | None]] = []
    async with peer(answer()) as seen, http_call(f"api.test:{seen.port}") as call:
        attempt = an_attempt(report=lambda done, says: told.append((done, says)))
        await call(attempt, {"url": f"http://api.test:{seen.port}/"})
    assert told == [(0, "Asking api.test")]


async def test_calls_do_not_wait_for_each_other() -> None:
    all_there, there = asyncio.Event(), 0

    async def together(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal there
        await read_request(reader)
        there += 1
        if there == 150:
            all_there.set()
        await all_there.wait()
        writer.write(answer(b"ok"))

    async with peer(together) as seen, http_call(f"api.test:{seen.port}") as call:
        url = f"http://api.test:{seen.port}/"
        got = await asyncio.gather(*(call(an_attempt(), {"url": url}) for _ in range(150)))
    assert {one["body"] for one in got} == {"ok"}
