"""Access tokens: what makes one good, and the attacks that do not."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import asyncpg
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from deploy.postgres import PostgresServer
from deploy.provision import Database
from events.database import Pool, open_pool
from events.identity import PRINCIPAL_HEADER, PrincipalSigner
from events.telemetry import configure_logging
from fixtures.accounts import PASSWORD, Login, logged_in, me, post, problem, register
from fixtures.gateway import PEPPER, Answer, Gateway, Upstream, open_gateway, read_body, read_head
from fixtures.parts import PRINCIPAL_SECRET
from fixtures.tokens import by, by_secret, decoded, forged, unsigned
from gateway.auth.signing_keys import LEAD_SECONDS, SealedForAnother, SigningKey, SigningKeys

WEEK = 7 * 86_400.0
OVERLAP = 1_500.0
OTHER = Ed25519PrivateKey.generate()


async def echo_principal(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = await read_head(reader)
        await read_body(reader, head)
        body = (head.get(PRINCIPAL_HEADER) or "").encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@pytest_asyncio.fixture(scope="module")
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream.open(echo_principal) as upstream:
        yield upstream


@pytest_asyncio.fixture(scope="module")
async def gateway(
    gateway_database: Database, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    tmp_path = tmp_path_factory.mktemp("gateway")
    configure_logging(tmp_path / "logs" / "gateway.log", "INFO")
    async with open_gateway(gateway_database, tmp_path, upstream.url) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def pool(gateway_database: Database) -> AsyncIterator[Pool]:
    async with open_pool(gateway_database.url("gateway"), name="test", size=8) as pool:
        yield pool


@pytest_asyncio.fixture(scope="module")
async def login(gateway: Gateway) -> Login:
    return await register(gateway, "ada@example.org")


@pytest_asyncio.fixture(scope="module")
async def key(login: Login, pool: Pool) -> SigningKey:
    """The gateway's own signing key. No attacker has it, but what it has signed must be checked all the same."""
    return await SigningKeys(pool, PEPPER, period=WEEK, overlap=OVERLAP).current()


class Good(NamedTuple):
    """A good token, taken apart."""

    token: str
    header: dict[str, Any]
    claims: dict[str, Any]
    key: SigningKey

    def with_header(self, **changed: Any) -> str:
        return forged(_changed(self.header, changed), self.claims, by(self.key.private))

    def with_claims(self, **changed: Any) -> str:
        return forged(self.header, _changed(self.claims, changed), by(self.key.private))

    @property
    def public_pem(self) -> bytes:
        return self.key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _changed(whole: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """None takes a field away."""
    return {name: value for name, value in {**whole, **changed}.items() if value is not None}


@pytest_asyncio.fixture(scope="module")
async def good(login: Login, key: SigningKey) -> Good:
    header, claims, _ = login.access.split(".")
    return Good(login.access, decoded(header), decoded(claims), key)


async def test_a_token_opens_the_door_and_says_whose_it_is(gateway: Gateway, good: Good, login: Login) -> None:
    answer = await gateway.ask("GET /api/v1/jobs", login.bearer, key=None)
    assert answer.status == 200
    principal = PrincipalSigner(PRINCIPAL_SECRET).verify(answer.body.decode())
    assert (principal.tenant, principal.subject) == (login.user["tenant"], f"user:{login.user['id']}")
    assert principal.expires_at == good.claims["exp"]
    assert {"jobs:read", "uploads:write", "keys:admin"} <= principal.scopes
    assert good.claims["exp"] - good.claims["iat"] == 600


async def test_a_forger_who_has_everything_but_a_flaw_gets_in(gateway: Gateway, good: Good) -> None:
    """What the table below changes one thing of is good as it is: each of its rows is refused for that one thing."""
    assert (await me(gateway, good.with_claims())).status == 200


@pytest.mark.parametrize("path", ["/.well-known/jwks.json", "/api/v1/auth/jwks.json"])
async def test_anybody_can_verify_a_token_by_the_published_keys(gateway: Gateway, good: Good, path: str) -> None:
    answer = await gateway.ask(f"GET {path}", key=None)
    assert answer.head.get("cache-control") == "public, max-age=300"
    published = jwt.PyJWKSet.from_dict(json.loads(answer.body))
    claims = jwt.decode(good.token, published[good.header["kid"]], audience="millrace", issuer="millrace")
    assert claims == good.claims
    assert all("d" not in each for each in json.loads(answer.body)["keys"])


NOT_OURS = "The token is not an access token of this server: alg EdDSA, typ at+jwt."
OWN_KEY = "The token brings a key of its own (jwk, jku, x5u, x5c). Only its issuer's keys count."
NO_KID = "The token does not name its key: kid is missing or malformed."
NO_JWT = "The token is not a JWT: three base64url parts, separated by dots."
NO_JSON = "The token is not a JWT: a part of it is not base64url of a JSON object."
SIGNATURE = "The token's signature is wrong."
LACKS = "The token lacks one of the claims exp, iss, aud and sub."
EXPIRED = "The token has expired."
EARLY = "The token is not valid yet (nbf or iat)."
AUDIENCE = "The token is meant for another audience (aud)."
ISSUER = "The token's issuer (iss) is not trusted here."
MALFORMED = "The token is malformed."
KEY = "The token is signed with a key that is unknown or outlived."
OVER = "The token's session has ended. Log in again."
CRIT = "The token has a critical extension (crit). None is understood here."
JWK = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}

ATTACKS: dict[str, tuple[Callable[[Good], str], str]] = {
    "alg none": (lambda t: forged({**t.header, "alg": "none"}, t.claims, unsigned), NOT_OURS),
    "alg nOnE": (lambda t: forged({**t.header, "alg": "nOnE"}, t.claims, unsigned), NOT_OURS),
    "alg none with a signature": (lambda t: t.with_header(alg="none"), NOT_OURS),
    "no alg": (lambda t: t.with_header(alg=None), NOT_OURS),
    "alg is a list": (lambda t: t.with_header(alg=["EdDSA"]), NOT_OURS),
    "HS256 with the public key": (
        lambda t: forged({**t.header, "alg": "HS256"}, t.claims, by_secret(t.public_pem)),
        NOT_OURS,
    ),
    "HS256 with the raw public key": (
        lambda t: forged({**t.header, "alg": "HS256"}, t.claims, by_secret(t.key.public.public_bytes_raw())),
        NOT_OURS,
    ),
    "EdDSA over an HMAC": (lambda t: forged(t.header, t.claims, by_secret(t.public_pem)), SIGNATURE),
    "RS256": (lambda t: t.with_header(alg="RS256"), NOT_OURS),
    "stripped signature": (lambda t: t.token.rpartition(".")[0] + ".", SIGNATURE),
    "cut signature": (lambda t: t.token.rpartition(".")[0] + ".AAAA", SIGNATURE),
    "other claims under the signature": (
        lambda t: ".".join([*forged(t.header, {**t.claims, "role": "owner"}, unsigned).split(".")[:2], "AAAA"]),
        SIGNATURE,
    ),
    "signed with another key": (lambda t: forged(t.header, t.claims, by(OTHER)), SIGNATURE),
    "embedded jwk": (lambda t: forged({**t.header, "jwk": JWK}, t.claims, by(OTHER)), OWN_KEY),
    "embedded jwk in a good token": (lambda t: t.with_header(jwk=JWK), OWN_KEY),
    "jku": (lambda t: t.with_header(jku="https://example.org/jwks.json"), OWN_KEY),
    "x5u": (lambda t: t.with_header(x5u="https://example.org/cert.pem"), OWN_KEY),
    "x5c": (lambda t: t.with_header(x5c=["MIIB"]), OWN_KEY),
    "crit": (lambda t: t.with_header(crit=["exp"]), CRIT),
    "empty crit": (lambda t: t.with_header(crit=[]), CRIT),
    "kid is a path": (lambda t: t.with_header(kid="../../../../dev/null"), KEY),
    "kid is SQL": (lambda t: t.with_header(kid="' OR '1'='1"), NO_KID),
    "kid is huge": (lambda t: t.with_header(kid="a" * 4000), NO_KID),
    "kid is empty": (lambda t: t.with_header(kid=""), NO_KID),
    "kid is a number": (lambda t: t.with_header(kid=1), NO_KID),
    "kid has a NUL": (lambda t: t.with_header(kid="a\0b"), NO_KID),
    "no kid": (lambda t: t.with_header(kid=None), NO_KID),
    "unknown kid": (lambda t: t.with_header(kid="0" * 24), KEY),
    "another type": (lambda t: t.with_header(typ="JWT"), NOT_OURS),
    "no type": (lambda t: t.with_header(typ=None), NOT_OURS),
    "wrong aud": (lambda t: t.with_claims(aud="another"), AUDIENCE),
    "no aud": (lambda t: t.with_claims(aud=None), LACKS),
    "wrong iss": (lambda t: t.with_claims(iss="https://example.org"), ISSUER),
    "no iss": (lambda t: t.with_claims(iss=None), "The token has no issuer (iss)."),
    "iss is a list": (lambda t: t.with_claims(iss=["millrace"]), "The token has no issuer (iss)."),
    "no exp": (lambda t: t.with_claims(exp=None), LACKS),
    "exp past": (lambda t: t.with_claims(exp=int(time.time()) - 3600), EXPIRED),
    "exp a second ago": (lambda t: t.with_claims(exp=int(time.time()) - 1), EXPIRED),
    "exp is text": (lambda t: t.with_claims(exp="tomorrow"), MALFORMED),
    "exp is infinite": (lambda t: t.with_claims(exp=float("inf")), NO_JSON),
    "exp is digits in quotes": (
        lambda t: t.with_claims(exp=str(int(time.time()) + 300)),
        "The token's expiry (exp) is malformed.",
    ),
    "exp beyond all time": (lambda t: t.with_claims(exp=1e300), "The token's expiry (exp) is malformed."),
    "nbf future": (lambda t: t.with_claims(nbf=int(time.time()) + 3600), EARLY),
    "iat future": (lambda t: t.with_claims(iat=int(time.time()) + 3600), EARLY),
    "no sub": (lambda t: t.with_claims(sub=None), LACKS),
    "sub is a number": (lambda t: t.with_claims(sub=1), MALFORMED),
    "a session that is none": (
        lambda t: t.with_claims(sid=str(uuid4())),
        "The token's session has ended. Log in again.",
    ),
    "another's session": (lambda t: t.with_claims(sub=str(uuid4())), OVER),
    "more than 8 KiB": (lambda t: t.with_claims(padding="x" * 8192), "The credential is too long."),
    "dots only": (lambda _: "..", NO_JWT),
    "garbage": (lambda _: "a.b.c", NO_JSON),
    "no base64url": (lambda t: t.token.replace(".", ".+/", 1), NO_JWT),
    "base64 of nothing": (lambda _: "AAAA.AAAA.AAAA", NO_JSON),
    "the header is a list": (lambda t: "W10." + t.token.partition(".")[2], NO_JSON),
    "a deep header": (lambda t: "W1tb" * 1500 + "." + t.token.partition(".")[2], NO_JSON),
}


@pytest.mark.parametrize(("attack", "says"), ATTACKS.values(), ids=ATTACKS)
async def test_an_attack_is_refused_and_told_why(
    gateway: Gateway, good: Good, attack: Callable[[Good], str], says: str
) -> None:
    token = attack(good)
    answer = await gateway.ask("GET /api/v1/jobs", f"Authorization: Bearer {token}", key=None)
    refused = problem(answer)
    assert (refused["status"], refused["detail"]) == (401, says)
    assert refused["code"] == ("token_expired" if says == EXPIRED else "unauthenticated")
    assert answer.head.get("www-authenticate") == "Bearer"
    for part in token.split("."):
        assert len(part) < 8 or part not in answer.body.decode() + gateway.log.read_text()


async def test_a_refresh_token_is_no_credential(gateway: Gateway, login: Login) -> None:
    assert (await me(gateway, login.refresh)).status == 401


async def test_an_unknown_kid_does_not_ask_the_database_each_time(
    gateway: Gateway, good: Good, gateway_database: Database, pool: Pool
) -> None:
    """The second forgery in a second finds the keys just read: with the table gone it is still answered."""
    await me(gateway, good.with_header(kid="1" * 24))
    owner = await asyncpg.connect(gateway_database.admin_url)
    try:
        await owner.execute("ALTER TABLE gateway.signing_keys RENAME TO hidden")
        assert problem(await me(gateway, good.with_header(kid="2" * 24)))["detail"] == KEY
    finally:
        await owner.execute("ALTER TABLE gateway.hidden RENAME TO signing_keys")
        await owner.close()


async def refused_soon(gateway: Gateway, access: str) -> None:
    async with asyncio.timeout(5):
        while (await me(gateway, access)).status != 401:
            pass


async def test_a_logout_ends_the_access_tokens_on_every_replica(
    gateway: Gateway, gateway_database: Database, upstream: Upstream, tmp_path: Path
) -> None:
    leaving = await register(gateway, "leaving@example.org")
    staying = logged_in(await post(gateway, "login", email="leaving@example.org", password=PASSWORD))
    async with open_gateway(gateway_database, tmp_path, upstream.url) as replica:
        for each in (gateway, replica):
            assert (await me(each, leaving.access)).status == 200
        assert (await post(gateway, "logout", refresh_token=leaving.refresh)).status == 204
        await asyncio.gather(refused_soon(gateway, leaving.access), refused_soon(replica, leaving.access))
        assert problem(await me(replica, leaving.access))["detail"] == OVER
        assert (await me(replica, staying.access)).status == 200, "the person's other session goes on"


async def test_a_replica_that_cannot_hear_of_a_logout_trusts_nothing_that_it_remembers(
    gateway: Gateway, gateway_database: Database
) -> None:
    login = await register(gateway, "deaf@example.org")
    assert (await me(gateway, login.access)).status == 200
    owner = await asyncpg.connect(gateway_database.admin_url)
    try:
        await owner.execute(
            "UPDATE gateway.sessions SET ended_at = now() WHERE user_id = $1", login.user["id"]
        )  # nobody is told: the news is lost with the connection
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"
        )
    finally:
        await owner.close()
    await refused_soon(gateway, login.access)


async def test_with_the_database_away_a_token_is_503_and_good_again_afterwards(
    database: Database, postgres_server: PostgresServer, upstream: Upstream, tmp_path: Path
) -> None:
    async with open_gateway(database, tmp_path, upstream.url) as gateway:
        login = await register(gateway, "ada@example.org")
        await jobs_until(gateway, login, 200)
        await postgres_server.stop()
        try:
            refused = await jobs_until(gateway, login, 503)
            assert (problem(refused)["code"], refused.head.get("retry-after")) == ("unavailable", "1")
            assert (await gateway.ask("GET /api/v1/jobs")).status == 200, "the admin key needs no database"
        finally:
            await postgres_server.start()
        await jobs_until(gateway, login, 200)


async def jobs_until(gateway: Gateway, login: Login, status: int) -> Answer:
    async with asyncio.timeout(30):
        while (answer := await gateway.ask("GET /api/v1/jobs", login.bearer, key=None)).status != status:
            pass
    return answer


# Signing keys, on a database of their own, since these tests move time


@pytest_asyncio.fixture
async def own_pool(database: Database) -> AsyncIterator[Pool]:
    async with open_pool(database.url("gateway"), name="test", size=8) as pool:
        yield pool


def replica(pool: Pool, pepper: str = PEPPER) -> SigningKeys:
    return SigningKeys(pool, pepper, period=WEEK, overlap=OVERLAP)


async def kids(keys: SigningKeys) -> list[str]:
    return [key["kid"] for key in (await keys.jwks())["keys"]]


async def test_replicas_that_start_at_once_make_one_key(own_pool: Pool) -> None:
    replicas = [replica(own_pool) for _ in range(5)]
    await asyncio.gather(*(keys.rotate() for keys in replicas))
    assert len({(await keys.current()).kid for keys in replicas}) == 1


async def test_a_key_is_published_before_it_signs_and_verifies_after_it_has_signed(own_pool: Pool) -> None:
    async def time_passes(seconds: float) -> None:
        await own_pool.execute(
            "UPDATE gateway.signing_keys SET signs_from = signs_from - make_interval(secs => $1)", seconds
        )

    keys = replica(own_pool)
    await keys.rotate()
    old = (await keys.current()).kid
    await time_passes(WEEK - LEAD_SECONDS - 5)
    await keys.rotate()
    assert await kids(keys) == [old]
    await time_passes(10)
    await keys.rotate()
    new = [kid for kid in await kids(keys) if kid != old]
    assert len(new) == 1
    assert (await keys.current()).kid == old, "readers of the JWKS must have had time to learn of it"
    await time_passes(LEAD_SECONDS)
    await keys.rotate()
    assert (await keys.current()).kid == new[0]
    assert await keys.find(old) is not None, "tokens that it has signed are still good"
    await time_passes(OVERLAP + 10)
    await keys.rotate()
    assert await kids(keys) == new
    assert await keys.find(old) is None


async def test_a_replica_learns_of_a_key_when_it_meets_it(own_pool: Pool) -> None:
    first = replica(own_pool)
    late = replica(own_pool)
    kid = (await first.current()).kid
    found = await late.find(kid)
    assert found is not None
    assert found.kid == kid


async def test_a_private_key_is_unreadable_without_the_pepper(own_pool: Pool) -> None:
    key = await replica(own_pool).current()
    sealed = await own_pool.fetchval("SELECT sealed FROM gateway.signing_keys")
    assert key.private.private_bytes_raw() not in sealed
    with pytest.raises(SealedForAnother, match="MILLRACE_KEY_PEPPER"):
        await replica(own_pool, "another-pepper-that-is-long-enough").current()
