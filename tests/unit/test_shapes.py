"""A text of the wrong form is told in words, and described to machines by its pattern."""

from typing import Annotated, Any

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from events.web.shapes import IDEMPOTENCY_KEY, Shape
from events.web.web import as_millrace_error

LETTERS = Shape(r"^[a-z]+$", "small letters {only}")


class Wish(BaseModel):
    name: Annotated[str, StringConstraints(strip_whitespace=True, max_length=5), LETTERS] = "name"
    key: Annotated[str, IDEMPOTENCY_KEY] | None = None
    plain: str = Field(default="plain", pattern=r"^[a-z]+$")


def refused(**wish: Any) -> tuple[str, str, str]:
    """What a client is told of its one mistake: where, its code, and the words."""
    with pytest.raises(ValidationError) as wrong:
        Wish(**wish)
    (error,) = as_millrace_error(RequestValidationError(wrong.value.errors())).errors
    return error.field, error.code, error.detail


def test_who_sends_another_form_is_told_in_words() -> None:
    assert refused(name="A1") == ("name", "string_pattern_mismatch", "This must be small letters {only}.")
    assert refused(key="\n")[2] == "This must be 1 to 255 visible ASCII characters."
    assert Wish(name=" ada ", key="k").name == "ada"


def test_what_else_is_wrong_is_told_as_ever() -> None:
    assert refused(name=1)[1] == "string_type"
    assert refused(name="toolong")[1] == "string_too_long"


def test_nobody_is_shown_a_regular_expression_that_has_no_words() -> None:
    field, code, detail = refused(plain="A1")
    assert (field, code) == ("plain", "string_pattern_mismatch")
    assert "[a-z]" not in detail


def test_machines_are_told_the_pattern() -> None:
    properties = Wish.model_json_schema()["properties"]
    assert properties["name"]["pattern"] == LETTERS.pattern
    assert properties["key"]["anyOf"][0]["pattern"] == IDEMPOTENCY_KEY.pattern
