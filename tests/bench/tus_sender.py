"""Sends one file by tus, as cheaply as it can be done: `python tus_sender.py HOST PORT PATH BYTES CHUNK_BYTES HEADERS`.

It is a process of its own, so that what is measured is the server. The bytes come from memory by sendfile, without a
copy here. Prints, for each PATCH, the seconds from its first byte to its answer.
"""

import http.client
import json
import os
import sys
import time

_BLOCK = 16 << 20


def main(host: str, port: str, path: str, size: str, chunk: str, headers: str) -> None:
    block = os.memfd_create("block")
    os.write(block, os.urandom(_BLOCK))
    common = {"Tus-Resumable": "1.0.0", **json.loads(headers)}
    connection = http.client.HTTPConnection(host, int(port))
    connection.request("POST", path, headers=common | {"Upload-Length": size, "Content-Length": "0"})
    created = _answer(connection, 201)
    location = created.headers["Location"]
    if "://" in location:
        location = "/" + location.split("/", 3)[3]
    took = []
    for offset in range(0, int(size), int(chunk)):
        length = min(int(chunk), int(size) - offset)
        sent = {
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(length),
        }
        began = time.perf_counter()
        connection.request("PATCH", location, headers=common | sent)
        _send(connection, block, length)
        _answer(connection, 204)
        took.append(time.perf_counter() - began)
    print(json.dumps(took))


def _send(connection: http.client.HTTPConnection, block: int, left: int) -> None:
    while left:
        begin, until = 0, min(_BLOCK, left)
        while begin < until:
            begin += os.sendfile(connection.sock.fileno(), block, begin, until - begin)
        left -= until


def _answer(connection: http.client.HTTPConnection, status: int) -> http.client.HTTPResponse:
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != status:
        raise RuntimeError(f"{answer.status}: {body[:1000]!r}")
    return answer


if __name__ == "__main__":
    main(*sys.argv[1:])
