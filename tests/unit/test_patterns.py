"""Patterns mean what they mean to RabbitMQ, which tests/contract/test_broker.py asks."""

import pytest

from events.broker.patterns import matcher
from events.errors import InvalidInput


@pytest.mark.parametrize("pattern", ["", ".", "a.", ".a", "a..b", "a*", "##", "*.job.#x", "a" * 256])
def test_what_no_exchange_would_understand_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput, match="is not a pattern"):
        matcher(pattern)


def test_many_wildcards_take_no_time() -> None:
    is_meant = matcher(".".join(["#", "*"] * 40))
    assert is_meant(".".join(["word"] * 60))
    assert not is_meant("too.few")
