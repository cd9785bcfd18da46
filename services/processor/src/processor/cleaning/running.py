"""Queries that end when nobody wants them any more."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import duckdb

_LOOK_SECONDS = 0.2


@contextmanager
def interruptible(connection: duckdb.DuckDBPyConnection, look: Callable[[], None]) -> Iterator[None]:
    """`look` is called now and then while the block runs. What it raises ends the connection's query, and the block."""
    over = threading.Event()
    raised: list[BaseException] = []

    def watch() -> None:
        while not over.wait(_LOOK_SECONDS):
            try:
                look()
            except BaseException as wish:
                raised.append(wish)
                while not over.wait(_LOOK_SECONDS):  # between two queries there is nothing to be interrupted
                    connection.interrupt()
                return

    watching = threading.Thread(target=watch, name="watch")
    watching.start()
    try:
        yield
    except duckdb.InterruptException:
        if not raised:
            raise
    finally:
        over.set()
        watching.join()
    if raised:
        raise raised[0]
