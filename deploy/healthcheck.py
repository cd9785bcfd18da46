"""Docker's health check, in the image: whether the service of this container is ready.

It is asked every few seconds in every container, and importing urllib would cost more than the question does.
"""

import os
import socket
import sys

_SECONDS = 8
_QUESTION = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def main() -> int:
    with socket.create_connection(("127.0.0.1", int(os.environ["MILLRACE_PORT"])), _SECONDS) as connection:
        connection.sendall(_QUESTION)
        return 0 if connection.recv(64).startswith(b"HTTP/1.1 200 ") else 1


if __name__ == "__main__":
    sys.exit(main())
