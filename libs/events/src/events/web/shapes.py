"""The form of a text that a client sends: a pattern for machines, and words for whoever got it wrong.

pydantic would tell a client the regular expression.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, ValidationError, ValidatorFunctionWrapHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

MISMATCH = "string_pattern_mismatch"


@dataclass(frozen=True, slots=True)
class Shape:
    """`Annotated[str, Shape(r"^[a-z]+$", "small letters")]`"""

    pattern: str
    says: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = {**handler(source), "pattern": self.pattern}
        return core_schema.no_info_wrap_validator_function(self._validate, text)

    def _validate(self, text: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        try:
            return validate(text)
        except ValidationError as wrong:
            if all(error["type"] != MISMATCH for error in wrong.errors(include_url=False)):
                raise
            raise PydanticCustomError(MISMATCH, "This must be {says}.", {"says": self.says}) from None


IDEMPOTENCY_KEY = Shape(r"^[\x21-\x7e]{1,255}$", "1 to 255 visible ASCII characters")
