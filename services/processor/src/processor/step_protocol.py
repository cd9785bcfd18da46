"""What a worker and a step's process say to each other over their pipe: JSON objects, each behind its length."""

from typing import TypeAlias

import msgspec

from processor.language.problems import Problem
from processor.step import Task

LENGTH_BYTES = 4
# A process that says more at once has gone mad.
LONGEST_BYTES = 64 << 20


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    done: float  # share of this step, 0 to 1
    message: str | None


class Result(msgspec.Struct, frozen=True, tag="result"):
    value: msgspec.Raw  # a JSON object


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The input is to blame: another attempt would end the same way."""

    code: str
    detail: str
    problems: tuple[Problem, ...] = ()


class Crashed(msgspec.Struct, frozen=True, tag="crashed"):
    """The step is to blame: another attempt may go well."""

    detail: str


class Stopped(msgspec.Struct, frozen=True, tag="stopped"):
    """The step was told to stop, and did."""


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """An order: the step is not wanted any more."""


Answer: TypeAlias = Progress | Result | Failed | Crashed | Stopped
Order: TypeAlias = Task | Stop

_orders: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def framed(said: Order | Answer) -> bytes:
    body = msgspec.json.encode(said)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def decode_order(body: bytes) -> Order:
    return _orders.decode(body)


def decode_answer(body: bytes) -> Answer:
    return _answers.decode(body)
