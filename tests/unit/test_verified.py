"""What is remembered of credentials, and for how long."""

import time

from events.identity import Principal
from gateway.auth.credentials import Identity
from gateway.auth.verified import Verified


def identity(*ended_by: str, seconds: float = 60) -> Identity:
    return Identity(Principal("acme", "user:1", frozenset(), int(time.time() + seconds)), frozenset(ended_by))


def remembering(most: int = 10) -> Verified:
    return Verified(lambda: True, most=most)


def test_a_good_credential_is_remembered_until_it_expires() -> None:
    verified = remembering()
    good, expired = identity(), identity(seconds=-1)
    verified.remember("a", good, heard=verified.heard)
    verified.remember("b", expired, heard=verified.heard)
    assert verified.find("a") is good
    assert verified.find("b") is None
    assert verified.find("c") is None


def test_whatever_ends_an_identity_is_forgotten_with_it() -> None:
    verified = remembering()
    for name, ends in {"a": ("session:1", "user:1"), "b": ("session:2", "user:1"), "c": ("user:2",)}.items():
        verified.remember(name, identity(*ends), heard=verified.heard)
    verified.ended("session:1")
    assert [verified.find(name) is None for name in "abc"] == [True, False, False]
    verified.ended("user:1")
    assert [verified.find(name) is None for name in "abc"] == [True, True, False]
    verified.ended("*")
    assert verified.find("c") is None


def test_nothing_is_remembered_that_may_have_ended_while_it_was_verified() -> None:
    verified = remembering()
    heard = verified.heard
    verified.ended("session:1")
    verified.remember("a", identity("session:1"), heard=heard)
    assert verified.find("a") is None


def test_nothing_is_known_while_revocations_cannot_be_heard() -> None:
    hears_all = True
    verified = Verified(lambda: hears_all)
    verified.remember("a", identity(), heard=verified.heard)
    hears_all = False
    assert verified.find("a") is None
    verified.remember("b", identity(), heard=verified.heard)
    hears_all = True
    assert verified.find("b") is None


def test_the_memory_is_bounded() -> None:
    verified = remembering(most=3)
    for number in range(10):
        verified.remember(str(number), identity(f"session:{number}"), heard=verified.heard)
    assert [number for number in range(10) if verified.find(str(number))] == [7, 8, 9]
    verified.remember("9", identity("session:9"), heard=verified.heard)
    verified.ended("session:7")
    assert [number for number in range(10) if verified.find(str(number))] == [8, 9]
