"""Which channels there are, and who may follow them."""

import pytest

from events.errors import Forbidden, InvalidInput
from events.identity import Principal
from notifier.channels import channel_of, hidden_from, name_of

ID = "01a1fbea-6fbc-7335-a459-98abf90680e7"
EVERYTHING = frozenset({"jobs:read", "meetings:read", "auctions:read", "events:read"})
ADA = Principal("acme", "user:ada", EVERYTHING)


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        (f"job:{ID}", "jobs:read"),
        (f"upload:{ID}", "jobs:read"),
        (f"meeting:{ID}", "meetings:read"),
        (f"transcript:{ID}", "meetings:read"),
        (f"auction:{ID}", "auctions:read"),
        ("job:*", "jobs:read"),
        ("meeting:*", "meetings:read"),
    ],
)
def test_a_stream_and_its_whole_category_need_the_scope_of_the_category(name: str, scope: str) -> None:
    assert channel_of(name, Principal("acme", "key:1", frozenset({scope}))) == ("acme", name)
    with pytest.raises(Forbidden, match=scope):
        channel_of(name, Principal("acme", "key:1", EVERYTHING - {scope}))


def test_the_tenants_whole_log_is_for_its_own_who_may_read_events() -> None:
    assert channel_of("tenant:acme", ADA) == ("acme", None)
    with pytest.raises(Forbidden, match="events:read"):
        channel_of("tenant:acme", Principal("acme", "user:ada", frozenset({"jobs:read"})))
    with pytest.raises(Forbidden, match="not yours"):
        channel_of("tenant:evil", ADA)


def test_a_users_channel_is_for_this_user_only() -> None:
    assert channel_of("user:ada", Principal("acme", "user:ada", frozenset())) == ("acme", "user:ada")
    for name in ("user:bob", "user:*", "user:"):
        with pytest.raises(Forbidden, match="not yours"):
            channel_of(name, ADA)


@pytest.mark.parametrize(
    "name", ["", "job", "job:", "job:7", f"job:{ID.upper()}", f"job:{ID.replace('-', '')}", f"key:{ID}", "*", f":{ID}"]
)
def test_what_is_no_channels_one_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        channel_of(name, ADA)


def test_a_ticket_that_is_bound_to_channels_opens_these_and_no_wildcard_over_them() -> None:
    bound = Principal("acme", "user:ada", EVERYTHING, channels=frozenset({f"job:{ID}", "tenant:acme"}))
    assert channel_of(f"job:{ID}", bound) == ("acme", f"job:{ID}")
    assert channel_of("tenant:acme", bound) == ("acme", None)
    for name in ("job:*", f"upload:{ID}", "user:ada"):
        with pytest.raises(Forbidden, match="bound"):
            channel_of(name, bound)


@pytest.mark.parametrize("name", [f"job:{ID}", "job:*", "user:ada", "tenant:acme"])
def test_a_channel_is_called_by_the_name_that_it_was_asked_by(name: str) -> None:
    assert name_of(channel_of(name, ADA)) == name


def test_what_the_gateway_notes_of_accounts_is_hidden_from_all_but_who_operates_the_system() -> None:
    assert "key.created" in hidden_from(ADA)
    assert not hidden_from(Principal("acme", "key:1", frozenset({"ops"})))
