import base64
import time
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import Unauthenticated
from events.identity import FRESH_SECONDS, Principal, PrincipalSigner

SIGNER = PrincipalSigner("a secret of more than thirty-two characters")
ALICE = Principal("acme", "key:alice", frozenset({"jobs:read", "uploads:write"}))


def test_a_signed_principal_is_read_back_as_it_was() -> None:
    assert SIGNER.verify(SIGNER.sign(ALICE)) == ALICE


def test_a_principal_that_is_bound_to_channels_may_follow_no_others() -> None:
    bound = SIGNER.verify(SIGNER.sign(replace(ALICE, channels=frozenset({"job:1", "job:2"}))))
    assert [bound.may_follow(channel) for channel in ("job:1", "job:2", "job:3", "tenant:acme")] == [
        True,
        True,
        False,
        False,
    ]
    nothing = SIGNER.verify(SIGNER.sign(replace(ALICE, channels=frozenset())))
    assert not nothing.may_follow("job:1"), "bound to none is not unbound"
    assert ALICE.may_follow("job:3")


def test_a_principal_signed_with_another_secret_is_refused() -> None:
    forged = PrincipalSigner("another secret of more than thirty-two letters").sign(ALICE)
    with pytest.raises(Unauthenticated):
        SIGNER.verify(forged)


@given(st.data())
def test_a_principal_changed_in_any_byte_is_refused(data: st.DataObject) -> None:
    token = SIGNER.sign(ALICE)
    at = data.draw(st.integers(0, len(token) - 1))
    new = data.draw(st.characters(codec="utf-8").filter(lambda c: c != token[at]))
    with pytest.raises(Unauthenticated):
        SIGNER.verify(token[:at] + new + token[at + 1 :])


@pytest.mark.parametrize("token", ["", ".", "a.b", "..", "é.é", "x" * 10_000])
def test_nonsense_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        SIGNER.verify(token)


def test_a_stale_signature_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    token = SIGNER.sign(ALICE)
    later = time.time() + FRESH_SECONDS + 2
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(Unauthenticated, match="stale"):
        SIGNER.verify(token)


def test_an_expired_credential_is_refused_though_its_signature_is_fresh() -> None:
    expired = Principal("acme", "user:bob", frozenset(), expires_at=int(time.time()) - 1)
    with pytest.raises(Unauthenticated, match="expired"):
        SIGNER.verify(SIGNER.sign(expired))


def test_what_the_token_carries_is_readable_so_it_must_hold_no_secret() -> None:
    payload = base64.urlsafe_b64decode(SIGNER.sign(ALICE).partition(".")[0])
    assert set(msgspec.json.decode(payload)) == {"tenant", "subject", "scopes", "expires_at", "signed_at"}
