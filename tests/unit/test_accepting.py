"""Which form of an answer a client's `Accept` means."""

import pytest

from events.errors import NotAcceptable
from events.web.accepting import chosen

OFFERS = ("application/json", "text/csv", "text/plain")


@pytest.mark.parametrize(
    ("accept", "expected"),
    {
        None: "application/json",
        " ": "application/json",
        "*/*": "application/json",
        "text/*": "text/csv",
        "text/plain, text/csv": "text/csv",
        "TEXT/CSV": "text/csv",
        "text/csv;q=0.5, application/json;q=0.4, */*;q=0.1": "text/csv",
        "application/json;q=0, */*": "text/csv",
        "text/csv;charset=utf-8;q=0.9, text/plain; q=1": "text/plain",
        "text/csv;q=much, */*;q=0.1": "application/json",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": "application/json",
    }.items(),
)
def test_the_form_that_a_client_likes_best_is_taken(accept: str | None, expected: str) -> None:
    assert chosen(accept, OFFERS) == expected


@pytest.mark.parametrize("accept", ["image/png", "text/csv;q=0", ",", ";;;", "x" * 10_000])
def test_a_client_that_likes_none_is_told_which_there_are(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="text/csv"):
        chosen(accept, OFFERS)
