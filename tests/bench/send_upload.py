"""Sends a body of so many bytes over one raw socket, as cheaply as can be. Prints the status and the seconds."""

import socket
import sys
from time import perf_counter

host, port, target, size, header = sys.argv[1:]
block = bytes(range(256)) * 4096
left = int(size)
with socket.create_connection((host, int(port))) as connection:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    began = perf_counter()
    head = (f"POST {target} HTTP/1.1", f"Host: {host}", header, "Content-Type: text/csv", f"Content-Length: {left}")
    connection.sendall("\r\n".join((*head, "", "")).encode())
    while left:
        connection.sendall(block[: min(left, len(block))])
        left -= min(left, len(block))
    answer = connection.recv(65536)
    print(answer.split(b" ", 2)[1].decode(), perf_counter() - began)
