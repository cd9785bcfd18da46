"""Every rule, by its name: the one place to add one to."""

from typing import TypeAlias, get_args

from processor.cleaning.recipe.rules.booleans import Boolean
from processor.cleaning.recipe.rules.numbers import Decimal, Integer, Number
from processor.cleaning.recipe.rules.rule import Rule
from processor.cleaning.recipe.rules.text import Case, InnerSpace, Map, NullTokens, Replace, Trim

AnyRule: TypeAlias = Trim | InnerSpace | Case | NullTokens | Replace | Map | Integer | Number | Decimal | Boolean

RULES: dict[str, type[Rule]] = {str(rule.__struct_config__.tag): rule for rule in get_args(AnyRule)}
