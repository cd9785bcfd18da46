"""Every rule, by its name: the one place to add one to."""

from typing import TypeAlias, get_args

from processor.cleaning.recipe.rules.booleans import Boolean
from processor.cleaning.recipe.rules.columns import DropColumns, Merge, Rename, Split
from processor.cleaning.recipe.rules.conditions import DropRows, Range, Schema
from processor.cleaning.recipe.rules.contacts import Email, Phone
from processor.cleaning.recipe.rules.countries import Country
from processor.cleaning.recipe.rules.dates import Date, Timestamp
from processor.cleaning.recipe.rules.dependencies import Dependency
from processor.cleaning.recipe.rules.duplicates import Deduplicate
from processor.cleaning.recipe.rules.filling import Fill
from processor.cleaning.recipe.rules.keys import ForeignKey, Unique
from processor.cleaning.recipe.rules.numbers import Decimal, Integer, Number
from processor.cleaning.recipe.rules.outliers import Outliers
from processor.cleaning.recipe.rules.rule import Rule
from processor.cleaning.recipe.rules.text import Case, InnerSpace, Map, NullTokens, Replace, Trim
from processor.cleaning.recipe.rules.units import Unit

AnyRule: TypeAlias = (
    Trim | InnerSpace | Case | NullTokens | Replace | Map
    | Integer | Number | Decimal | Boolean | Date | Timestamp
    | Email | Phone | Country | Unit
    | DropColumns | Rename | Split | Merge | Fill
    | DropRows | Range | Schema
    | Unique | ForeignKey | Deduplicate | Outliers | Dependency
)  # fmt: skip

RULES: dict[str, type[Rule]] = {str(rule.__struct_config__.tag): rule for rule in get_args(AnyRule)}
