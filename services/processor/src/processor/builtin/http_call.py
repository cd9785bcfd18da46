"""`http.call`: asks a host that the operator allows, and nobody else whatever the URL, DNS or the answer say.

A call is one lookup, one connection to an address that it gave and that was checked, one request and one answer.
Redirects are answers. Connections are not kept, so nothing of one tenant's call is there in another's.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.http_exceptions import LineTooLong
from opentelemetry.trace import SpanKind, get_current_span

from events.telemetry import Telemetry, current_traceparent
from processor.builtin.addresses import may_be_called
from processor.builtin.handler import Attempt, Here
from processor.builtin.hosts import HostPattern, Target, read_url
from processor.builtin.http_answer import check_status, read_answer
from processor.builtin.http_request import request_body, request_headers
from processor.settings import ProcessorSettings
from processor.step import StepError

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

_MOST_HEADERS = 128
_LONGEST_HEADER = 8190  # bytes


async def addresses_of(host: str, port: int) -> Sequence[str]:
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in infos]


@asynccontextmanager
async def open_http(
    settings: ProcessorSettings,
    telemetry: Telemetry,
    *,
    resolve: Resolve = addresses_of,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Here]:
    checked = partial(may_be_called, private=settings.http_private_addresses)
    connector = aiohttp.TCPConnector(
        resolver=_CheckedResolver(resolve, checked),
        socket_factory=partial(_socket, checked),
        ssl=tls or True,  # aiohttp's own, which has read the system's certificates already
        use_dns_cache=False,
        force_close=True,
        limit=0,  # whoever starts attempts says how many there are
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        response_class=_Answer,
        timeout=aiohttp.ClientTimeout(),  # the whole call has a deadline
        middlewares=(_once,),
        max_headers=_MOST_HEADERS,
        max_field_size=_LONGEST_HEADER,
    ) as session:
        yield _HttpCall(session, settings, telemetry, checked)


class _HttpCall:
    def __init__(
        self,
        session: aiohttp.ClientSession,
        settings: ProcessorSettings,
        telemetry: Telemetry,
        checked: Callable[[str], bool],
    ) -> None:
        self._session = session
        self._allowed = [HostPattern.parse(text) for text in settings.http_hosts]
        self._seconds = settings.http_seconds
        self._most_bytes = settings.http_answer_bytes
        self._telemetry = telemetry
        self._checked = checked

    async def __call__(self, attempt: Attempt, parameters: Mapping[str, Any]) -> dict[str, Any]:
        target = read_url(parameters["url"], self._allowed)
        if target.literal is not None and not self._checked(target.literal):
            raise _address_not_allowed(target.host)
        attempt.report(0, f"Asking {target.host}")
        method = parameters.get("method", "GET")
        # Not the URL: a path, too, may be all that somebody needs to do the same.
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "server.address": target.host,
            "server.port": target.port,
        }
        with self._telemetry.span(method, traceparent=attempt.traceparent, kind=SpanKind.CLIENT, attributes=attributes):
            try:
                async with asyncio.timeout(self._seconds):
                    return await self._ask(attempt, target, parameters)
            except TimeoutError:
                detail = f"{target.host} had not answered in whole after {self._seconds:g} seconds."
                raise StepError("call_timeout", detail) from None

    async def _ask(self, attempt: Attempt, target: Target, parameters: Mapping[str, Any]) -> dict[str, Any]:
        body, content_type = request_body(parameters)
        headers = request_headers(
            parameters,
            content_type=content_type,
            effect_id=str(attempt.effect_id),
            traceparent=current_traceparent(),
        )
        method = parameters.get("method", "GET")
        answer = await self._session.request(method, target.url, headers=headers, data=body, allow_redirects=False)
        get_current_span().set_attribute("http.response.status_code", answer.status)
        try:
            check_status(target.host, answer.status, parameters.get("expect"))
            with _as_step_errors(target.host):
                return await read_answer(answer, target.host, self._most_bytes)
        finally:
            answer.close()


class _CheckedResolver(AbstractResolver):
    def __init__(self, resolve: Resolve, checked: Callable[[str], bool]) -> None:
        self._resolve = resolve
        self._checked = checked

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All of a name's addresses or none: a name that has one of ours among its own is misused or misconfigured."""
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError):
            addresses = ()
        if not addresses:
            raise StepError("name_not_resolved", f"The address of {host} cannot be found now.")
        if not all(map(self._checked, addresses)):
            raise _address_not_allowed(host)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        pass


class _Answer(aiohttp.ClientResponse):
    """Closed, it ends its connection at once; aiohttp waits until the peer has taken what is still unsent."""

    _transport: asyncio.Transport | None = None

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        self._transport = connection.transport
        return await super().start(connection)

    def close(self) -> None:
        if self._transport is not None:
            if not self.closed:
                _drop_unsent(self._transport)
            with suppress(AttributeError):  # before Python 3.11.5, one of TLS that is closed already
                self._transport.abort()
        super().close()


def _drop_unsent(transport: asyncio.Transport) -> None:
    """Closing it resets the connection, so that the kernel does not go on sending either."""
    with suppress(OSError, ValueError):  # it is closed already
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def _socket(checked: Callable[[str], bool], info: aiohttp.AddrInfoType) -> socket.socket:
    """The last word on every connection, however its address has come here."""
    family, kind, protocol, _, address = info
    if not checked(str(address[0])):
        raise PermissionError("The address may not be called.")
    return socket.socket(family, kind, protocol)


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """aiohttp repeats a request whose connection has ended, on an error of its own kind. What is tried again is for the
    definition to say."""
    with _as_step_errors(request.url.host or ""):
        return await handler(request)


@contextmanager
def _as_step_errors(host: str) -> Iterator[None]:
    """Nothing of the request is repeated in what is said of its failure."""
    try:
        yield
    except aiohttp.ClientConnectorCertificateError as refused:
        reason = getattr(refused.certificate_error, "verify_message", "") or "it is not valid"
        raise StepError("tls_failed", f"The certificate of {host} is refused: {reason}.") from None
    except (aiohttp.ClientError, OSError) as failed:
        causes = (failed, failed.__cause__, failed.__cause__ and failed.__cause__.__cause__)
        if any(isinstance(cause, ssl.SSLError) for cause in causes) or isinstance(failed, aiohttp.ClientSSLError):
            raise StepError("tls_failed", f"There is no agreement on TLS with {host}.") from None
        if any(isinstance(cause, LineTooLong) for cause in causes) or "Too many headers" in str(failed):
            raise StepError(
                "answer_too_large", f"{host} answered with headers that are too long or too many."
            ) from None
        if isinstance(failed, aiohttp.ClientConnectorError):
            raise StepError("connection_failed", f"{host} cannot be reached now.") from None
        detail = f"The connection to {host} ended before its answer was whole, or the answer was no HTTP."
        raise StepError("connection_failed", detail) from None


def _address_not_allowed(host: str) -> StepError:
    return StepError("address_not_allowed", f"{host} has an address that may not be called.")
