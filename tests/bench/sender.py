"""Sends one upload over a bare socket, as cheaply as it can be done: `python sender.py HOST PORT BYTES HEAD`.

It is a process of its own, so that what is measured is the server. The bytes come from memory by sendfile, without a
copy here. Prints the seconds from the first byte to the answer, and the answer's status line.
"""

import os
import socket
import sys
import time

_BLOCK = 16 << 20


def main(host: str, port: str, size: str, head: str) -> None:
    left = int(size)
    block = os.memfd_create("block")
    os.write(block, os.urandom(_BLOCK))
    with socket.create_connection((host, int(port))) as connection:
        began = time.perf_counter()
        connection.sendall(head.encode())
        while left:
            begin = 0
            until = min(_BLOCK, left)
            while begin < until:
                begin += os.sendfile(connection.fileno(), block, begin, until - begin)
            left -= until
        answer = connection.recv(65536)
        took = time.perf_counter() - began
    print(took, answer.partition(b"\r\n")[0].decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
