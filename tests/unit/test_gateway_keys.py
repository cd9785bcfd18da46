"""API keys: their form, and how a slip differs from a guess."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import Unauthenticated
from gateway.auth.keys import hash_key, new_key, parse_key

BASE62 = string.digits + string.ascii_letters


def test_a_new_key_has_the_form_that_scanners_look_for() -> None:
    key = new_key()
    assert re.fullmatch(r"mr_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}", key)
    assert parse_key(key).id == key.split("_")[2]
    assert new_key() != key


@given(st.integers(0, 50).filter(lambda place: place != 12), st.integers(1, 61))
def test_a_single_wrong_character_is_always_noticed(place: int, shift: int) -> None:
    key, place = new_key(), place + len("mr_live_")
    other = BASE62[(BASE62.index(key[place]) + shift) % 62]
    with pytest.raises(Unauthenticated, match="mistyped"):
        parse_key(key[:place] + other + key[place + 1 :])


@pytest.mark.parametrize(
    "text",
    ["", "mr_live_", "mr_test_abc", new_key() + "0", new_key()[:-1], " " + new_key()],
    ids=["nothing", "no secret", "another kind", "too long", "too short", "a space before it"],
)
def test_what_is_no_key_is_not_repeated_in_the_answer(text: str) -> None:
    with pytest.raises(Unauthenticated, match="not an API key") as refused:
        parse_key(text)
    assert len(text) < 9 or text not in refused.value.detail


def test_a_key_does_not_show_itself() -> None:
    key = parse_key(new_key())
    assert key.text not in repr(key)


def test_a_hash_depends_on_the_key_and_on_the_pepper() -> None:
    one, two = new_key(), new_key()
    assert hash_key(one, b"pepper") == hash_key(one, b"pepper")
    assert len({hash_key(one, b"pepper"), hash_key(two, b"pepper"), hash_key(one, b"salt")}) == 3
