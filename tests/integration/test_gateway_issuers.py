"""Tokens of other issuers, whose keys are fetched from a server that may be slow, wrong or hostile."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from deploy.provision import Database
from events.errors import StartupError, Unavailable
from events.identity import PRINCIPAL_HEADER, Principal, PrincipalSigner
from fixtures.accounts import me, problem
from fixtures.gateway import Answer, Gateway, Upstream, gateway_settings, open_gateway, read_body, read_head
from fixtures.parts import PRINCIPAL_SECRET
from fixtures.tokens import by_secret, forged
from gateway.auth.issuer import Issuer
from gateway.auth.jwks import Jwks
from gateway.settings import GatewaySettings

ISSUER = "https://login.example.org"
RSA = rsa.generate_private_key(65537, 2048)
WEAK = rsa.generate_private_key(65537, 1024)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def jwk(algorithm: str, key: Any, kid: str, **more: Any) -> dict[str, Any]:
    public = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return {**public, "kid": kid, "use": "sig", **more}


KEYS = [
    jwk("RS256", RSA, "rsa", alg="RS256"),
    jwk("ES256", EC, "ec"),
    jwk("EdDSA", ED, "ed"),
    jwk("RS256", WEAK, "weak"),
    jwk("RS256", RSA, "encrypts") | {"use": "enc"},
    {"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "use": "sig"},
    {"kty": "RSA", "kid": "broken"},
    {"kid": 7},
]


@dataclass
class JwksServer:
    """What it answers with, and how often it was asked."""

    url: str = ""
    status: str = "200 OK"
    body: bytes = field(default_factory=lambda: json.dumps({"keys": KEYS}).encode())
    fields: tuple[str, ...] = ()
    asked: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            self.asked += 1
            lines = [f"HTTP/1.1 {self.status}", f"Content-Length: {len(self.body)}", *self.fields, "", ""]
            writer.write("\r\n".join(lines).encode() + self.body)
            await writer.drain()


@asynccontextmanager
async def jwks_server() -> AsyncIterator[JwksServer]:
    server = JwksServer()
    async with Upstream.open(server.answer) as upstream:
        server.url = f"{upstream.url}/jwks.json"
        yield server


@pytest.fixture
async def server() -> AsyncIterator[JwksServer]:
    async with jwks_server() as server:
        yield server


def trusted(server: JwksServer, **changed: Any) -> Issuer:
    settings = {
        "issuer": ISSUER,
        "audience": "millrace-at-acme",
        "jwks_url": server.url,
        "algorithms": ("RS256", "ES256", "EdDSA"),
        "tenant": "acme",
        "role_claim": "groups",
        "roles": {"staff": "member", "guests": "viewer"},
        "scope_claim": "scope",
    }
    return Issuer.model_validate({**settings, **changed})


@asynccontextmanager
async def trusting(database: Database, folder: Path, *issuers: Issuer) -> AsyncIterator[Gateway]:
    async def echo_principal(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            await read_body(reader, head)
            body = (head.get(PRINCIPAL_HEADER) or "").encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with (
        Upstream.open(echo_principal) as upstream,
        open_gateway(database, folder, upstream.url, issuers=issuers) as gateway,
    ):
        yield gateway


@pytest.fixture
async def gateway(server: JwksServer, gateway_database: Database, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with trusting(gateway_database, tmp_path, trusted(server)) as gateway:
        yield gateway


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "rsa", typ: str = "JWT", **changed: Any) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": ["millrace-at-acme", "others"],
        "sub": "auth0|ada@example.org",
        "iat": now,
        "exp": now + 300,
        "groups": ["guests", "others"],
        "scope": "jobs:write openid",
        **changed,
    }
    headers = {"typ": typ} | ({"kid": kid} if kid else {})
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, key, algorithm, headers=headers)


async def show(gateway: Gateway, credential: str) -> Answer:
    return await gateway.ask("GET /api/v1/jobs", f"Authorization: Bearer {credential}", key=None)


async def admitted(gateway: Gateway, credential: str) -> Principal:
    answer = await show(gateway, credential)
    assert answer.status == 200, answer.body
    return PrincipalSigner(PRINCIPAL_SECRET).verify(answer.body.decode())


GOOD = {"RSA": (RSA, "RS256", "rsa"), "EC": (EC, "ES256", "ec"), "Ed25519": (ED, "EdDSA", "ed")}


@pytest.mark.parametrize(("key", "algorithm", "kid"), GOOD.values(), ids=GOOD)
async def test_a_token_of_a_trusted_issuer_opens_the_door(gateway: Gateway, key: Any, algorithm: str, kid: str) -> None:
    shown = token(key, algorithm, kid)
    principal = await admitted(gateway, shown)
    assert principal.tenant == "acme"
    assert principal.subject.startswith("user:")
    assert "ada" not in principal.subject, "some issuers put an address there"
    assert principal.scopes == {
        "jobs:read",
        "workflows:read",
        "events:read",
        "meetings:read",
        "auctions:read",
        "jobs:write",
    }
    who = json.loads((await me(gateway, shown)).body)
    assert (who["subject"], who["user"]) == (principal.subject, None)


async def test_a_token_without_a_role_or_scope_that_we_know_may_nothing(gateway: Gateway) -> None:
    assert (await admitted(gateway, token(groups="admin root", scope=["all"]))).scopes == frozenset()


PUBLIC_PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
UNPUBLISHED = "The token is signed with a key that its issuer does not publish."
NOT_OURS = "The token is not an access token of this server: alg EdDSA, typ at+jwt."
OTHER_ALGORITHM = "The token is signed with an algorithm that its issuer does not use."
REFUSED: dict[str, tuple[Callable[[], str], str]] = {
    "HS256 with the public key": (
        lambda: forged({"alg": "HS256", "kid": "rsa"}, {"iss": ISSUER}, by_secret(PUBLIC_PEM)),
        OTHER_ALGORITHM,
    ),
    "a shared secret": (
        lambda: forged({"alg": "RS256", "kid": "shared"}, {"iss": ISSUER}, by_secret(b"secret")),
        UNPUBLISHED,
    ),
    "an algorithm that is not agreed on": (lambda: token(algorithm="RS512"), OTHER_ALGORITHM),
    "an algorithm that the key is not for": (
        lambda: token(ED, "EdDSA", "rsa"),
        "The token is signed with an algorithm that its key is not for.",
    ),
    "a key of another kind": (lambda: token(ED, "EdDSA", "ec"), "The token is malformed."),
    "another's key": (lambda: token(rsa.generate_private_key(65537, 2048)), "The token's signature is wrong."),
    "a weak key": (lambda: token(RSA, "RS256", "weak"), UNPUBLISHED),
    "a key for encryption": (lambda: token(kid="encrypts"), UNPUBLISHED),
    "a broken key": (lambda: token(kid="broken"), UNPUBLISHED),
    "no kid": (lambda: token(kid=None), "The token does not name its key: kid is missing or malformed."),
    "another issuer": (lambda: token(iss="https://evil.example.org"), "The token's issuer (iss) is not trusted here."),
    "ours as the issuer": (
        lambda: token(iss="millrace"),
        "The token is not an access token of this server: alg EdDSA, typ at+jwt.",
    ),
    "another audience": (lambda: token(aud="others"), "The token is meant for another audience (aud)."),
    "no exp": (lambda: token(exp=None), "The token lacks one of the claims exp, iss, aud and sub."),
    "expired": (lambda: token(exp=1), "The token has expired."),
    "a token for something else": (
        lambda: token(typ="logout+jwt"),
        "The token is not an access token: its type (typ) is another.",
    ),
}


@pytest.mark.parametrize(("attack", "says"), REFUSED.values(), ids=REFUSED)
async def test_an_attack_is_refused_and_told_why(gateway: Gateway, attack: Callable[[], str], says: str) -> None:
    refused = problem(await show(gateway, attack()))
    assert (refused["status"], refused["detail"]) == (401, says)


async def test_an_issuer_may_name_the_tenant_if_it_is_told_to(
    server: JwksServer, gateway_database: Database, tmp_path: Path
) -> None:
    issuer = trusted(server, tenant=None, tenant_claim="org")
    async with trusting(gateway_database, tmp_path, issuer) as gateway:
        assert (await admitted(gateway, token(org="umbrella"))).tenant == "umbrella"
        for wrong in (None, "", "a/b", "x" * 65, 7, ["umbrella"]):
            assert problem(await show(gateway, token(org=wrong)))["detail"].startswith("The token's tenant (org)")


async def test_two_issuers_that_know_a_person_by_the_same_name_know_two(
    server: JwksServer, gateway_database: Database, tmp_path: Path
) -> None:
    other = "https://other.example.org"
    async with trusting(gateway_database, tmp_path, trusted(server), trusted(server, issuer=other)) as gateway:
        assert (await admitted(gateway, token())).subject != (await admitted(gateway, token(iss=other))).subject


async def test_many_at_once_fetch_the_keys_once(gateway: Gateway, server: JwksServer) -> None:
    assert server.asked == 0
    await asyncio.gather(*(admitted(gateway, token(jti=str(n))) for n in range(20)))
    assert server.asked == 1


async def test_made_up_kids_do_not_make_us_ask_again(gateway: Gateway, server: JwksServer) -> None:
    for n in range(20):
        assert problem(await show(gateway, token(kid=f"made-up-{n}")))["detail"] == UNPUBLISHED
    assert server.asked == 1
    await admitted(gateway, token())


HOSTILE: dict[str, dict[str, Any]] = {
    "an error": {"status": "500 Oops"},
    "a redirect": {"status": "302 Found", "fields": ("Location: http://127.0.0.1:1/",)},
    "no JSON": {"body": b"<html>"},
    "another JSON": {"body": b'{"keys":"none"}'},
    "deep JSON": {"body": b'{"keys":[' + b'{"a":' * 50_000},
    "too much": {"body": b'{"keys":[], "padding":"' + b"x" * 300_000 + b'"}'},
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
async def test_an_issuer_without_usable_keys_is_503_and_asked_again_later(
    gateway: Gateway, server: JwksServer, answer: dict[str, Any]
) -> None:
    for name, value in answer.items():
        setattr(server, name, value)
    for _ in range(3):
        refused = await show(gateway, token())
        assert (problem(refused)["code"], refused.head.get("retry-after")) == ("unavailable", "5")
    assert server.asked == 1


async def test_known_keys_outlive_an_issuer_that_is_away_but_not_for_ever(server: JwksServer) -> None:
    now = 0.0
    async with aiohttp.ClientSession() as session:
        jwks = Jwks(server.url, ("RS256",), session, structlog.stdlib.get_logger(), clock=lambda: now)
        assert await jwks.find("rsa") is not None
        server.status = "500 Oops"
        for later in (700.0, 40_000.0, 86_000.0):
            now = later
            assert await jwks.find("rsa") is not None, "stale, and the fetch behind it fails"
            await jwks.settled()
        now = 86_500.0
        with pytest.raises(Unavailable):
            await jwks.find("rsa")
        server.status = "200 OK"
        now += 31
        assert await jwks.find("rsa") is not None
        assert server.asked == 6
        await jwks.close()


async def test_a_new_key_is_found_once_the_cool_down_is_over(server: JwksServer) -> None:
    now = 0.0
    async with aiohttp.ClientSession() as session:
        jwks = Jwks(server.url, ("RS256",), session, structlog.stdlib.get_logger(), clock=lambda: now)
        server.body = b'{"keys":[]}'
        assert await jwks.find("rsa") is None
        server.body = json.dumps({"keys": KEYS}).encode()
        assert await jwks.find("rsa") is None
        now = 31.0
        assert await jwks.find("rsa") is not None
        await jwks.close()


WRONG_SETTINGS = {
    "a shared secret's algorithm": ({"algorithms": ["HS256"]}, "MILLRACE_ISSUERS.0.algorithms.0"),
    "no algorithm": ({"algorithms": []}, "MILLRACE_ISSUERS.0.algorithms"),
    "keys over plain HTTP": ({"jwks_url": "http://login.example.org/jwks"}, "MILLRACE_ISSUERS.0.jwks_url"),
    "loopback by name only": ({"jwks_url": "http://localhost.example.org/"}, "MILLRACE_ISSUERS.0.jwks_url"),
    "two ways to a tenant": ({"tenant_claim": "org"}, "give either tenant or tenant_claim"),
    "an unknown role": ({"roles": {"staff": "owner"}}, "MILLRACE_ISSUERS.0.roles.staff"),
    "a mistyped field": ({"algorithm": "RS256"}, "MILLRACE_ISSUERS.0.algorithm"),
}


@pytest.mark.parametrize(("changed", "says"), WRONG_SETTINGS.values(), ids=WRONG_SETTINGS)
def test_wrong_issuers_are_named_at_the_start(
    monkeypatch: pytest.MonkeyPatch, gateway_database: Database, tmp_path: Path, changed: dict[str, Any], says: str
) -> None:
    written = trusted(JwksServer("https://login.example.org/jwks")).model_dump(mode="json", exclude_none=True)
    environment(monkeypatch, gateway_database, tmp_path, json.dumps([{**written, **changed}]))
    with pytest.raises(StartupError) as refused:
        GatewaySettings.from_environment()
    assert says in refused.value.detail


def test_issuers_that_are_no_json_are_named_at_the_start(
    monkeypatch: pytest.MonkeyPatch, gateway_database: Database, tmp_path: Path
) -> None:
    environment(monkeypatch, gateway_database, tmp_path, "https://login.example.org")
    with pytest.raises(StartupError, match="issuers"):
        GatewaySettings.from_environment()


def environment(monkeypatch: pytest.MonkeyPatch, database: Database, folder: Path, issuers: str) -> None:
    for name, value in (
        gateway_settings(database, folder, "http://127.0.0.1:9").model_dump(exclude_defaults=True).items()
    ):
        if hasattr(value, "get_secret_value"):
            value = value.get_secret_value()
        text = json.dumps(value) if isinstance(value, dict | list | tuple) else str(value)
        monkeypatch.setenv(f"MILLRACE_{name.upper()}", text)
    monkeypatch.setenv("MILLRACE_ISSUERS", issuers)
