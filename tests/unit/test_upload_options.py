"""Options that are no JSON object are refused with the place of what is wrong."""

import pytest

from events.body.fields import checked_options
from events.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a" 1}', ": expected ':' (line 1, column 6)."),
        ('{"ä":\n 1,\n  b}', ": object keys must be strings (line 3, column 3)."),
        ('{"recipe":{"version":1', ": it ends too early (line 1, column 23)."),
        ("[1]", "."),
        ('{"a":' + "[" * 5000, "."),
    ],
    ids=["no colon", "no quote on another line", "cut off", "a list", "too deep"],
)
def test_what_is_no_json_object_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        checked_options(text, "query.options")
    (error,) = wrong.value.errors
    assert (error.field, error.code) == ("query.options", "json_object")
    assert error.detail == f"The options must be a JSON object{says}"
