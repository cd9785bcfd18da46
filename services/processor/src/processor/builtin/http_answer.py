"""What a call gets, as the step's output: bounded, and text or JSON."""

from collections.abc import Collection
from types import MappingProxyType
from typing import Any

import aiohttp
import msgspec

from processor.step import StepError

_MOST_HEADER_BYTES = 16 * 1024  # they are kept with the job, as the body is
# Codecs by the names that servers call them. Python has more, and some take a time that is quadratic.
_CODECS = MappingProxyType(
    {
        "ascii": "ascii",
        "big5": "big5",
        "euc-jp": "euc_jp",
        "euc-kr": "euc_kr",
        "gb18030": "gb18030",
        "gb2312": "gb18030",
        "gbk": "gb18030",
        "iso-8859-1": "iso8859_1",
        "iso-8859-2": "iso8859_2",
        "iso-8859-15": "iso8859_15",
        "koi8-r": "koi8_r",
        "shift_jis": "shift_jis",
        "us-ascii": "ascii",
        "utf-16": "utf_16",
        "utf-16be": "utf_16_be",
        "utf-16le": "utf_16_le",
        "utf-8": "utf_8_sig",
        "utf8": "utf_8_sig",
        "windows-1250": "cp1250",
        "windows-1251": "cp1251",
        "windows-1252": "cp1252",
    }
)


def check_status(host: str, status: int, expected: Collection[int] | None) -> None:
    """Without `expected`, 2xx and 3xx are well. The code says whether another try may help, not what was expected."""
    if status in expected if expected is not None else 200 <= status < 400:
        return
    if status == 429:
        code = "http_too_many_requests"
    elif 400 <= status < 500:
        code = "http_client_error"
    elif 500 <= status < 600:
        code = "http_server_error"
    else:
        code = "unexpected_status"
    raise StepError(code, f"{host} answered with the status {status}.")


async def read_answer(answer: aiohttp.ClientResponse, host: str, most_bytes: int) -> dict[str, Any]:
    headers = _headers(answer, host)
    body = await _body(answer, host, most_bytes)
    return {"status": answer.status, "headers": headers, "body": _decoded(answer, host, body)}


def _headers(answer: aiohttp.ClientResponse, host: str) -> dict[str, str]:
    """Cookies are left out: they are credentials, and what a job has got is kept for good."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in answer.raw_headers:
        name, value = raw_name.decode("latin-1").lower(), _text(raw_value)
        if name != "set-cookie":
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if sum(len(name) + len(value) for name, value in headers.items()) > _MOST_HEADER_BYTES:
        raise StepError("answer_too_large", f"{host} answered with more than {_MOST_HEADER_BYTES} bytes of headers.")
    return headers


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


async def _body(answer: aiohttp.ClientResponse, host: str, most_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():  # what it is after decompression, a bounded piece at a time
        body += chunk
        if len(body) > most_bytes:
            raise StepError("answer_too_large", f"{host} answered with more than {most_bytes} bytes.")
    return bytes(body)


def _decoded(answer: aiohttp.ClientResponse, host: str, body: bytes) -> Any:
    if not body:
        return None
    if answer.content_type == "application/json" or answer.content_type.endswith("+json"):
        try:
            return msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))
        except (msgspec.MsgspecError, RecursionError):
            raise StepError("answer_not_json", f"{host} says that its answer is JSON, and it is not.") from None
    codec = _CODECS.get((answer.charset or "utf-8").lower())
    try:
        if codec is None or "\0" in (text := body.decode(codec)):
            raise ValueError
    except ValueError:
        raise StepError("answer_not_text", f"{host} answered with something that is neither text nor JSON.") from None
    return text
