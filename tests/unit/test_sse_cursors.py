"""The ids of a stream of events, and what its messages look like."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from events.envelope import RecordedEvent
from events.errors import CursorExpired, InvalidInput, MillraceError
from notifier.dialects.sse.cursors import Cursors
from notifier.dialects.sse.form import of_one, of_several

EPOCH, OTHER = UUID(int=1), UUID(int=2)
NOTHING: frozenset[str] = frozenset()
NAMES = ("job:a", "job:b")


def event(data: bytes = b"{}", *, version: int = 3, type_: str = "job.progressed") -> RecordedEvent:
    return RecordedEvent(
        id=UUID(int=7), source="/test", type=type_, subject="job:a", time=datetime(2026, 11, 22, tzinfo=UTC),
        tenant="acme", data=msgspec.Raw(data), version=version, position=40 + version,
    )  # fmt: skip


@pytest.mark.parametrize("names", [NAMES[:1], NAMES, [f"job:{number}" for number in range(100)]])
def test_an_id_is_read_as_what_it_was_written_of(names: tuple[str, ...]) -> None:
    written = Cursors(EPOCH, names)
    written.places = [10**18 + number for number in range(len(names))]
    assert Cursors(EPOCH, names).read(written.id, "query.after") == written.places
    assert len(written.id) <= 2200, "it comes back in a header, or in a query"


def test_several_channels_have_one_beginning() -> None:
    assert Cursors(EPOCH, NAMES).read("0", "query.after") == [0, 0]


several = Cursors(EPOCH, NAMES).id
WRONG: dict[str, tuple[str, type[MillraceError]]] = {
    "a number, of which channel": ("7", InvalidInput),
    "of one channel": (f"{EPOCH}.7", InvalidInput),
    "of three": (f"{several}-0", InvalidInput),
    "of others": (Cursors(EPOCH, ("job:b", "job:a")).id, InvalidInput),
    "of another log": (several.replace(str(EPOCH), str(OTHER)), CursorExpired),
    "of no log": (several.replace(str(EPOCH), "-" * 36), InvalidInput),
    "a number that is none": (several + "9" * 20, InvalidInput),
    "empty": ("", InvalidInput),
}


@pytest.mark.parametrize(("cursor", "why"), WRONG.values(), ids=WRONG)
def test_what_is_not_of_these_channels_is_refused(cursor: str, why: type[MillraceError]) -> None:
    with pytest.raises(why):
        Cursors(EPOCH, NAMES).read(cursor, "query.after")


def test_of_several_channels_each_message_gets_the_places_of_all() -> None:
    cursors = Cursors(EPOCH, NAMES)
    first, second = of_several(0, True, NOTHING), of_several(1, False, NOTHING)
    written = first.pack([_of(first.encode(event(version=1))), _of(first.encode(event(version=2)))])
    told = cursors.stamped(written + second.pack([_of(second.encode(event()))])).decode()
    ids = [line.rpartition(".")[2] for line in told.splitlines() if line.startswith("id: ")]
    assert ids == ["1-0", "2-0", "2-43"]
    assert told.count("\n\n") == 3


def test_a_message_is_one_line_whatever_space_its_data_has() -> None:
    """JSON may have line breaks between its tokens: in a stream they would end the message's line."""
    encoded = _of(of_one(EPOCH, True, NOTHING).encode(event(b'{\r\n "a":\n 1}')))
    id_, data, *rest = encoded.decode().split("\n")
    assert (id_, rest) == (f"id: {EPOCH}.3", ["", ""])
    assert msgspec.json.decode(data.removeprefix("data: "))["data"] == {"a": 1}


def test_what_is_hidden_from_somebody_has_no_message() -> None:
    assert of_one(EPOCH, True, frozenset({"key.created"})).encode(event(type_="key.created")) is None


def _of(encoded: bytes | None) -> bytes:
    assert encoded is not None
    return encoded
