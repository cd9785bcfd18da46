"""What an edge proxy is told before it routes a request itself."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.packages import debian_program
from deploy.process import ChildProcess, Command, free_port
from deploy.provision import Database
from events.identity import PRINCIPAL_HEADER, PrincipalSigner
from fixtures.gateway import KEY, PATIENCE, Answer, Gateway, open_gateway
from fixtures.parts import PRINCIPAL_SECRET, OpenParts
from fixtures.sockets import ADMIN, connecting, open_site, received, refusal

KEY_FIELD = f"Authorization: Bearer {KEY}"
JOB = "/ws/01a1fbea-6fbc-7335-a459-98abf90680e7"


@pytest_asyncio.fixture(scope="module")
async def gateway(gateway_database: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    directory = tmp_path_factory.mktemp("authz")
    allowed = "https://app.example"
    async with open_gateway(
        gateway_database, directory, "http://127.0.0.1:9", authz_enabled=True, allowed_origins=allowed
    ) as running:
        yield running


async def ticket_of(gateway: Gateway) -> str:
    made = json.loads((await gateway.ask("POST /api/v1/auth/tickets")).body)
    return str(made["ticket"])


def is_problem(answer: Answer, status: int) -> bool:
    problem = json.loads(answer.body)
    assert answer.head.get("content-type") == "application/problem+json"
    assert answer.head.all("x-millrace-principal") == []
    assert problem["status"] == answer.status
    return answer.status == status


AS = {
    "nginx": ("GET /authz", "X-Original-Method: GET", "X-Original-URI: {}"),
    "Traefik": ("GET /authz", "X-Forwarded-Method: GET", "X-Forwarded-Uri: {}"),
    "Envoy": ("GET /authz{}",),
    "the versioned path": ("GET /api/v1/authz", "X-Forwarded-Uri: {}"),
    "Envoy, versioned": ("POST /api/v1/authz{}",),
}


@pytest.mark.parametrize("asking", AS.values(), ids=AS)
async def test_a_header_or_a_ticket_gives_a_signed_principal(gateway: Gateway, asking: tuple[str, ...]) -> None:
    async def ask(target: str, *fields: str) -> Answer:
        line, *others = (part.format(target) for part in asking)
        return await gateway.ask(line, *others, *fields, key=None)

    ticket = await ticket_of(gateway)
    for target, fields in (
        (JOB, (KEY_FIELD,)),
        ("/api/v1/jobs?limit=3", (KEY_FIELD,)),
        (f"{JOB}?after=3&ticket={ticket}", ()),
    ):
        answer = await ask(target, *fields)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.head.get("x-millrace-tenant") == "default"
        principal = PrincipalSigner(PRINCIPAL_SECRET).verify(answer.head.get(PRINCIPAL_HEADER) or "")
        assert (principal.tenant, principal.subject) == ("default", ADMIN)
    assert is_problem(await ask(f"{JOB}?ticket={ticket}"), 401), "a ticket is used once, here too"
    assert is_problem(await ask(JOB), 401)
    assert is_problem(await ask("/api/v1/jobs?ticket=" + await ticket_of(gateway)), 401)
    assert is_problem(await ask(f"{JOB}?token=abc"), 401)
    assert (await ask("/pipelines")).head.get("x-millrace-principal") is None


async def test_a_socket_that_is_not_ours_to_end_is_only_leased(gateway: Gateway) -> None:
    answer = await gateway.ask("GET /authz", f"X-Original-URI: {JOB}")
    principal = PrincipalSigner(PRINCIPAL_SECRET).verify(answer.head.get(PRINCIPAL_HEADER) or "")
    assert principal.expires_at is not None
    assert principal.expires_at <= time.time() + 300


REFUSED = {
    "an unknown path": ("/nowhere", 403),
    "our own endpoints": ("/metrics", 403),
    "authz itself": ("/authz/ws", 403),
    "a path trick": ("/ws/%2e%2e/api/v1/jobs", 403),
    "another path trick": ("//ws", 403),
    "no path": ("ws", 400),
    "a whole URL": ("https://millrace.example/ws", 400),
    "a fragment": ("/ws#x", 400),
}


@pytest.mark.parametrize(("target", "status"), REFUSED.values(), ids=REFUSED)
async def test_what_is_not_routed_is_refused(gateway: Gateway, target: str, status: int) -> None:
    assert is_problem(await gateway.ask("GET /authz", f"X-Original-URI: {target}"), status)


async def test_it_is_asked_about_one_request_only(gateway: Gateway) -> None:
    """A client's own X-Forwarded-Uri, passed on by a proxy that sets X-Original-URI, must not decide what is asked."""
    assert is_problem(await gateway.ask("GET /authz"), 400)
    assert is_problem(await gateway.ask("GET /authz?x=1"), 400)
    for fields in (
        ("X-Original-URI: /ws", "X-Forwarded-Uri: /pipelines"),
        ("X-Original-URI: /ws", "X-Original-URI: /pipelines"),
        ("X-Original-URI: /ws", "X-Original-Method: GET", "X-Forwarded-Method: POST"),
    ):
        assert is_problem(await gateway.ask("GET /authz", *fields), 400)
    assert is_problem(await gateway.ask("GET /authz/ws", "X-Forwarded-Uri: /pipelines"), 400)
    assert (await gateway.ask("GET /authz", "X-Original-URI: /ws", "X-Forwarded-Uri: /ws")).status == 200


@pytest.mark.parametrize(
    "forged",
    [
        f"{PRINCIPAL_HEADER}: {{}}",
        "X-Millrace-Tenant: evil",
        "X-Forwarded-User: admin",
        "X-Authenticated-User: admin",
    ],
)
async def test_nobody_is_who_a_header_says(gateway: Gateway, forged: str) -> None:
    signed = (await gateway.ask("GET /authz", "X-Original-URI: /ws")).head.get(PRINCIPAL_HEADER)
    answer = await gateway.ask("GET /authz", "X-Original-URI: /ws", forged.format(signed), key=None)
    assert is_problem(answer, 401)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (("Origin: https://evil.example",), 403),
        (("Origin: https://app.example",), 200),
        (("Origin: https://edge.example", "X-Forwarded-Host: edge.example"), 200),
    ],
)
async def test_the_origin_is_checked_for_sockets(gateway: Gateway, fields: tuple[str, ...], status: int) -> None:
    assert (await gateway.ask("GET /authz", "X-Original-URI: /ws", *fields)).status == status


async def test_it_is_off_unless_it_is_switched_on(gateway_database: Database, tmp_path: Path) -> None:
    async with open_gateway(gateway_database, tmp_path, "http://127.0.0.1:9") as gateway:
        for line in ("GET /authz", "GET /authz/ws", "GET /api/v1/authz"):
            assert is_problem(await gateway.ask(line, "X-Original-URI: /ws"), 404)


NGINX = """
worker_processes 1;
daemon off;
pid {directory}/pid;
error_log {directory}/error.log debug;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location /ws {{
            auth_request /authz;
            auth_request_set $principal $upstream_http_x_millrace_principal;
            proxy_pass {notifier};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_set_header X-Millrace-Principal $principal;
        }}
        location = /authz {{
            internal;
            proxy_pass {gateway}/authz;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header X-Original-URI $request_uri;
            proxy_set_header X-Original-Method $request_method;
            proxy_set_header X-Forwarded-Uri "";
            proxy_set_header X-Forwarded-Method "";
            proxy_set_header X-Forwarded-Host $host;
        }}
    }}
}}
"""


async def test_nginx_routes_a_socket_straight_to_the_notifier(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    async with open_site(database, open_parts_for, tmp_path, authz_enabled=True) as site:
        port, directory = free_port(), tmp_path / "nginx"
        directory.mkdir()
        configuration = directory / "nginx.conf"
        configuration.write_text(
            NGINX.format(directory=directory, port=port, notifier=site.notifier.address.url, gateway=site.gateway.url)
        )
        program = debian_program("nginx-light", "nginx")
        nginx = ChildProcess(
            Command(
                argv=[
                    str(program),
                    "-e",
                    str(directory / "error.log"),
                    "-c",
                    str(configuration),
                ],
                log=directory / "console",
            )
        )
        await nginx.start()
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        _, writer = await asyncio.open_connection("127.0.0.1", port)
                        break
                    except ConnectionRefusedError:
                        assert nginx.running(), nginx.last_words()
                        await asyncio.sleep(0.02)
                writer.close()
            edge = Gateway("127.0.0.1", port, site.gateway.log)
            job_id = await site.writer.job(1, tenant="default")
            ticket = (await site.ticket([f"job:{job_id}"]))["ticket"]
            async with connecting(edge, f"/ws/{job_id}?ticket={ticket}") as socket:
                assert (await received(socket))["job_id"] == job_id
                await site.writer.append(job_id, tenant="default")
                assert (await received(socket))["version"] == 2
            assert (await edge.ask(f"GET /ws/{job_id}?ticket={ticket}", key=None)).status == 401
            assert (await edge.ask("GET /ws", f"{PRINCIPAL_HEADER}: forged", key=None)).status == 401
            async with connecting(edge, "/ws", key=KEY) as socket:
                assert (await received(socket))["type"] == "connected"
            other = await site.writer.job(1, tenant="default")
            bound = (await site.ticket([f"job:{job_id}"]))["ticket"]
            assert (await refusal(connecting(edge, f"/ws/{other}?ticket={bound}")))[0] == 403
        finally:
            await nginx.stop()
