"""What the door costs: CPU of the gateway's process for each forwarded request, with key or JWT and the limiter, beside
a plain FastAPI + httpx proxy and nginx with auth_request in the same run; and for each WebSocket message and MB.

All stand before the same nginx, which answers a small JSON. The peers check less: the FastAPI proxy nothing, and nginx
asks a location that always agrees (`over_nginx_auth_request`), or the gateway's `/authz`, whose CPU then counts as its
own (`over_nginx_authz`). PostgreSQL, where the limiter counts, is not in the figures.
"""

import asyncio
import json
import re
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench import socket_echo
from bench.processes import Watched, python, running
from bench.report import Aim, Result
from bench.servers import open_database
from deploy.packages import debian_program
from deploy.process import free_port
from gateway.auth.keys import new_key

AIMS = {"cpu_us": Aim(at_most=300), "over_fastapi_httpx": Aim(at_least=5), "over_nginx_auth_request": Aim(at_least=0.5)}

ROUNDS = 3
SECONDS = 4
WARM_UP_SECONDS = 1
CONNECTIONS = 32  # for the CPU: everybody is busy
CALM_CONNECTIONS = 2  # for the latency: nobody queues
MESSAGES = 20_000

_FOLDER = Path(__file__).parent
_PATH = "/api/v1/jobs/0198c1a2-7c1e-7000-8000-000000000000"
# Counted as always, but far from full.
_WIDE = {"rate": 1_000_000, "burst": 1_000_000}
_LIMITS = {name: dict.fromkeys(("subject", "tenant", "address"), _WIDE) for name in ("auth", "guess", "read", "ws")}
_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx-{port}.pid; error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000000;
    client_body_temp_path {folder}/nginx-{port}; proxy_temp_path {folder}/nginx-{port};
    fastcgi_temp_path {folder}/nginx-{port}; uwsgi_temp_path {folder}/nginx-{port};
    scgi_temp_path {folder}/nginx-{port};
    {upstreams}
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
}}
"""
_SERVICE = """location / {{ default_type application/json; return 200 '{body}'; }}"""
_BODY = '{"id":"0198c1a2-7c1e-7000-8000-000000000000","status":"PROCESSING","progress_percent":40}'
_DOOR_UPSTREAMS = """
    upstream service {{ server 127.0.0.1:{service}; keepalive 64; }}
    upstream auth {{ server 127.0.0.1:{auth}; keepalive 64; }}
"""
_DOOR = """
        proxy_http_version 1.1; proxy_set_header Connection "";
        location / {{ auth_request /check; proxy_pass http://service; }}
        location = /check {{
            internal; proxy_pass http://auth{check}; proxy_pass_request_body off; proxy_set_header Content-Length "";
            proxy_set_header X-Original-URI $request_uri; proxy_set_header X-Original-Method $request_method;
        }}
"""


@dataclass(frozen=True, slots=True)
class Load:
    requests: int
    p50_ms: float
    p99_ms: float


async def _load(port: int, credential: str, *, seconds: int, connections: int) -> Load:
    command = [
        *(str(debian_program("wrk", "wrk")), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"),
        *("-H", f"Authorization: Bearer {credential}", f"http://127.0.0.1:{port}{_PATH}"),
    ]
    wrk = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said = (await wrk.communicate())[0].decode()
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"not every request was answered: {said}")
    return Load(int(_found(r"(\d+) requests in", said)), *(_milliseconds(percent, said) for percent in (50, 99)))


def _found(pattern: str, said: str) -> str:
    match = re.search(pattern, said)
    if match is None:
        raise RuntimeError(f"wrk said: {said}")
    return match[1]


def _milliseconds(percent: int, said: str) -> float:
    figure = _found(rf"{percent}%\s+([\d.]+[mu]?s)", said)
    number, unit = re.fullmatch(r"([\d.]+)([mu]?s)", figure).groups()  # type: ignore[union-attr]  # it was just matched
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


@asynccontextmanager
async def _nginx(name: str, folder: Path, locations: str, upstreams: str = "") -> AsyncIterator[Watched]:
    port = free_port()
    config = folder / f"{name}.conf"
    config.write_text(_NGINX.format(folder=folder, port=port, locations=locations, upstreams=upstreams))
    argv = [str(debian_program("nginx-light", "nginx")), "-e", "stderr", "-c", str(config)]
    async with running(name, argv, {}, folder, port=port) as nginx:
        yield nginx


async def _cpu_us(port: int, credential: str, watched: Sequence[Watched]) -> float:
    """CPU of the watched processes for each request."""
    await _load(port, credential, seconds=WARM_UP_SECONDS, connections=CONNECTIONS)
    for process in watched:
        process.begin()
    load = await _load(port, credential, seconds=SECONDS, connections=CONNECTIONS)
    return 1e6 * sum(process.cpu_seconds for process in watched) / load.requests


async def _access_token(port: int) -> str:
    """Of a user that registers."""
    user = {"email": "bench@example.com", "password": secrets.token_urlsafe(16), "display_name": "Bench"}
    url = f"http://127.0.0.1:{port}/api/v1/auth/register"
    async with aiohttp.ClientSession() as session, session.post(url, json=user) as answer:
        assert answer.status == 201, await answer.text()
        token: str = (await answer.json())["access_token"]
        return token


async def _socket_costs(gateway: Watched, key: str) -> dict[str, float]:
    """CPU of the gateway for each message that passes it, one at a time, and for each MB of large ones."""
    frame = bytes((0x81, 0x80 | 126)) + socket_echo.PAYLOAD.to_bytes(2) + bytes(4) + b"x" * socket_echo.PAYLOAD
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101"), head
    gateway.begin()
    for _ in range(MESSAGES):
        writer.write(frame)
        await reader.readexactly(4 + socket_echo.PAYLOAD)
    message_us = 1e6 * gateway.cpu_seconds / (2 * MESSAGES)
    gateway.begin()
    began = time.perf_counter()
    writer.write(bytes((0x81, 0x85)) + bytes(4) + b"flood")
    left = socket_echo.FLOOD_BYTES
    while left > 0:
        left -= len(await reader.read(1 << 20))
    megabytes = socket_echo.FLOOD_BYTES / 1e6
    costs = {
        "socket_message_us": message_us,
        "socket_mb_us": 1e6 * gateway.cpu_seconds / megabytes,
        "socket_mb_s": megabytes / (time.perf_counter() - began),
    }
    writer.close()
    await writer.wait_closed()
    return costs


async def run() -> Result:
    key = new_key()
    async with AsyncExitStack() as parts:
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="millrace-bench-")))
        database = await parts.enter_async_context(open_database())
        service = await parts.enter_async_context(_nginx("service", folder, _SERVICE.format(body=_BODY)))
        echo = await parts.enter_async_context(running("echo", python(_FOLDER / "socket_echo.py"), {}, folder))
        gateway = await parts.enter_async_context(
            running("gateway", python("-m", "gateway"), _settings(folder, database.url, key, service, echo), folder)
        )
        url = f"http://127.0.0.1:{service.port}"
        fastapi = await parts.enter_async_context(
            running("fastapi", python(_FOLDER / "fastapi_proxy.py", url), {}, folder)
        )
        stub = await parts.enter_async_context(_nginx("stub", folder, "location / { return 204; }"))
        doors = {
            name: await parts.enter_async_context(
                _nginx(
                    name,
                    folder,
                    _DOOR.format(check=check),
                    _DOOR_UPSTREAMS.format(service=service.port, auth=auth.port),
                )
            )
            for name, auth, check in (("nginx_stub", stub, "/"), ("nginx_authz", gateway, "/authz"))
        }
        token = await _access_token(gateway.port)
        contenders = {
            "key": (gateway.port, key, [gateway]),
            "jwt": (gateway.port, token, [gateway]),
            "fastapi_httpx": (fastapi.port, key, [fastapi]),
            "nginx_stub": (doors["nginx_stub"].port, key, [doors["nginx_stub"], stub]),
            "nginx_authz": (doors["nginx_authz"].port, key, [doors["nginx_authz"], gateway]),
        }
        rounds: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(ROUNDS):  # by turns, since the machine is not always equally fast
            for name, contender in contenders.items():
                rounds[name].append(await _cpu_us(*contender))
        cpu = {name: statistics.median(found) for name, found in rounds.items()}
        calm = {
            name: await _load(port, credential, seconds=SECONDS, connections=CALM_CONNECTIONS)
            for name, port, credential in (
                ("direct", service.port, key),
                ("key", gateway.port, key),
                ("jwt", gateway.port, token),
                ("fastapi_httpx", fastapi.port, key),
                ("nginx_authz", doors["nginx_authz"].port, key),
            )
        }
        sockets = await _socket_costs(gateway, key)
    ours = max(cpu["key"], cpu["jwt"])
    return Result(
        "gateway",
        {
            "rounds": ROUNDS,
            "seconds": SECONDS,
            "connections": CONNECTIONS,
            "calm connections": CALM_CONNECTIONS,
            "messages": MESSAGES,
        },
        {
            "cpu_us": ours,
            **{f"{name}_cpu_us": figure for name, figure in cpu.items()},
            "over_fastapi_httpx": cpu["fastapi_httpx"] / ours,
            "over_nginx_auth_request": cpu["nginx_stub"] / ours,
            "over_nginx_authz": cpu["nginx_authz"] / ours,
            "added_p50_ms": calm["key"].p50_ms - calm["direct"].p50_ms,
            "added_p99_ms": calm["key"].p99_ms - calm["direct"].p99_ms,
            **{f"{name}_p50_ms": load.p50_ms for name, load in calm.items()},
            **{f"{name}_p99_ms": load.p99_ms for name, load in calm.items()},
            **sockets,
        },
    )


def _settings(
    folder: Path, database_url: Callable[[str], str], key: str, service: Watched, echo: Watched
) -> dict[str, str]:
    return {
        "MILLRACE_DATA_DIR": str(folder),
        "MILLRACE_DATABASE_URL": database_url("gateway"),
        "MILLRACE_PRINCIPAL_SECRET": secrets.token_urlsafe(32),
        "MILLRACE_KEY_PEPPER": secrets.token_urlsafe(32),
        "MILLRACE_ADMIN_KEY": key,
        "MILLRACE_INGEST_URL": f"http://127.0.0.1:{service.port}",
        "MILLRACE_PROCESSOR_URL": f"http://127.0.0.1:{service.port}",
        "MILLRACE_NOTIFIER_URL": f"http://127.0.0.1:{echo.port}",
        "MILLRACE_LIMITS": json.dumps(_LIMITS),
        "MILLRACE_AUTHZ_ENABLED": "true",
    }
