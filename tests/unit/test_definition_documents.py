"""Documents as they are sent: what can be read is plain JSON, what cannot is one sentence with its line."""

import json
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.language.document import LARGEST, Unreadable, read

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(-1e300, 1e300)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner, max_size=4),
    max_leaves=30,
)  # fmt: skip


@given(JSON_VALUES)
def test_json_reads_as_what_it_says(value: object) -> None:
    assert read(json.dumps(value).encode(), "application/json; charset=utf-8") == value
    assert read(json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8-sig"), "json") == value


@given(
    st.binary(max_size=60)
    | st.text(alphabet='[]{}":,\\u12eE+-.0 \n\tabtrufalsn&*!<|>#%@`?', max_size=60).map(str.encode)
)
def test_whatever_is_sent_is_read_or_refused_with_a_sentence(body: bytes) -> None:
    for kind in ("json", "yaml"):
        with suppress(Unreadable):
            json.dumps(read(body, kind), allow_nan=False).encode()


@given(st.text(alphabet='[]{}":,\\u12eE+-.0 \n\tabtrufalsn', max_size=40))
def test_what_reads_as_json_is_what_python_reads(text: str) -> None:
    assert _read_or_none(lambda: read(text.encode(), "json")) == _read_or_none(lambda: json.loads(text))


def _read_or_none(reader: Callable[[], object]) -> object:
    try:
        return reader()
    except (Unreadable, ValueError):
        return None


@pytest.mark.parametrize(
    ("body", "code", "line", "column"),
    [
        (b"", "syntax", 1, 1),
        (b"[1, 2", "syntax", 1, 6),
        (b"[1,]", "syntax", 1, 4),
        (b'{"a": 1,\n "b": 2,\n "a": 3}', "duplicate_key", 3, 2),
        (b'{"a": 1, "\\u0061": 3}', "duplicate_key", 1, 10),
        (b'{"a": {"b": 1,\n "b": 2}}', "duplicate_key", 2, 2),
        (b'{"a": NaN}', "not_finite", 1, 7),
        (b'{"a": -Infinity}', "syntax", 1, 7),
        (b'{"a": 1e999}', "not_finite", 1, 7),
        (b'{"a": 123456789012345678901234567890}', "number_too_large", 1, 7),
        (b"[" + b"9" * 100_000 + b"]", "number_too_large", 1, 2),
        (b"[007]", "syntax", 1, 2),
        (b"[1.]", "syntax", 1, 2),
        (b"['a']", "syntax", 1, 2),
        (b"[True]", "syntax", 1, 2),
        (b'["\n"]', "syntax", 1, 2),
        (b'["\\x41"]', "syntax", 1, 2),
        (b'["b\\u"]', "syntax", 1, 2),
        (b'["\\ud800"]', "half_character", 1, 2),
        (b'["\\u0000"]', "nul", 1, 2),
        (b'["a\x00"]', "nul", 1, 4),
        (b'{\n"a": "\xff"}', "not_utf8", 2, 7),
        (b"\xff\xfe[\x00", "not_utf8", 1, 1),
        (b"[1] [2]", "syntax", 1, 5),
        (b'{1: "a"}', "syntax", 1, 2),
        (b'{"a", 1}', "syntax", 1, 5),
        (b"]", "syntax", 1, 1),
        (b"[}", "syntax", 1, 2),
        (b'{"a":1,}', "syntax", 1, 8),
        (b"[" * 1_000_000, "too_deep", 1, 65),
        (b'{"a":' * 200_000, "too_deep", 1, 321),
        (b"[" + b"1," * 500_000 + b"1]", "too_large", 1, 300_000),
    ],
)  # fmt: skip
def test_what_is_wrong_with_json_is_said_with_its_place(body: bytes, code: str, line: int, column: int) -> None:
    with pytest.raises(Unreadable) as refused:
        read(body, "json")
    assert (refused.value.problem.code, refused.value.line, refused.value.column) == (code, line, column)
    assert f"(line {line}, column {column})" in refused.value.problem.detail


LAUGHS = "a: &a [lol, lol]\n" + "".join(
    f"{one}: &{one} [{', '.join(f'*{before}' for _ in range(9))}]\n"
    for before, one in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("", "empty", None, None),
        ("# nothing\n", "empty", None, None),
        (LAUGHS, "anchor", 1, 4),
        ("a: 1\nb: *a\n", "anchor", 2, 4),
        ("&a a: 1", "anchor", 1, 1),
        ("a: !!python/object/apply:os.system [ls]", "tag", 1, 4),
        ("a: !!str 1", "tag", 1, 4),
        ("a: ! 1", "tag", 1, 4),
        ("%TAG ! tag:example.org,2000:\n---\na: 1", "tag", 1, 1),
        ("a: 1\na: 2", "duplicate_key", 2, 1),
        ("a: {b: 1, 'b': 2}", "duplicate_key", 1, 11),
        ("a: 1\n---\nb: 2", "syntax", 2, 1),
        ("? [a]\n: 1", "syntax", 1, 3),
        ("a: .inf", "not_finite", 1, 4),
        ("a: -.INF", "not_finite", 1, 4),
        ("a: .nan", "not_finite", 1, 4),
        ("a: 1e999", "not_finite", 1, 4),
        ("a: " + "9" * 100_000, "number_too_large", 1, 4),
        ("a: [", "syntax", 2, 1),
        ("a:\n\t- b", "syntax", 2, 1),
        ("a: \x07", "syntax", 1, 4),
        ('a: "\\0"', "nul", 1, 4),
        ("[" * 1_000_000, "too_deep", 1, 65),
        ("- " * 500_000, "too_deep", 1, 129),
        ("{a: " * 200_000, "too_deep", 1, 257),
        ("[" + "1," * 500_000 + "1]", "too_large", 1, 300_000),
    ],
)  # fmt: skip
def test_what_is_wrong_with_yaml_is_said_with_its_place(
    text: str, code: str, line: int | None, column: int | None
) -> None:
    with pytest.raises(Unreadable) as refused:
        read(text.encode(), "application/yaml")
    assert (refused.value.problem.code, refused.value.line, refused.value.column) == (code, line, column)


def test_ten_megabytes_are_refused_unread() -> None:
    for kind in ("json", "yaml"):
        begun = time.process_time()
        with pytest.raises(Unreadable, match=f"{LARGEST} bytes"):
            read(b"[" * 10_000_000, kind)
        assert time.process_time() - begun < 0.1


def test_a_scalar_of_yaml_is_what_json_would_take_it_for() -> None:
    text = """
on: yes
1: [no, "1", 1, -1.5, 1e3, null, ~, true, False]
null: 2027-03-01
time: 12:30:00
hex: [0x1f, 0o17, 007, 1_000, +1, .5]
merge: {<<: {a: 1}}
empty:
"""
    assert read(text.encode(), "text/yaml") == {
        "on": "yes",
        "1": ["no", "1", 1, -1.5, 1000.0, None, None, True, False],
        "null": "2027-03-01",
        "time": "12:30:00",
        "hex": ["0x1f", "0o17", "007", "1_000", "+1", ".5"],
        "merge": {"<<": {"a": 1}},
        "empty": None,
    }


def test_a_document_of_another_kind_is_refused() -> None:
    with pytest.raises(Unreadable, match="application/json or as application/yaml"):
        read(b"<a/>", "application/xml")
