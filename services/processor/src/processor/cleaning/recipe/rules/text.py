"""Rules for text: white space, case, words for nothing, patterns, maps."""

from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Annotated, Literal

import duckdb
from msgspec import Meta

from processor.cleaning.recipe.rules.rule import AllOrNames, Names, Rule, Word, Words, WrongRule, texts
from processor.cleaning.recipe.sheet import Sheet
from processor.cleaning.sql import TEXT, WHITE_CLASS, literal, literals, lowered, missing, shown

# What stands for nothing in most files. A blank cell does so anyway.
NOTHING = (
    "null", "none", "nil", "na", "n/a", "n.a.", "#n/a", "nan", "-", "--", "---", "?", ".", r"\n", "(null)", "<na>",
)  # fmt: skip
_MOST_BRANCHES = 24  # of a CASE: a table is faster from there on

Pattern = Annotated[str, Meta(min_length=1, max_length=2_000, description="A regular expression, as RE2 has them.")]


class Trim(Rule, frozen=True, tag="trim"):
    """White space before and after the text goes."""

    columns: AllOrNames = ()
    side: Literal["both", "left", "right"] = "both"

    def apply(self, sheet: Sheet) -> None:
        ends = {"left": [rf"^[{WHITE_CLASS}]+"], "right": [rf"[{WHITE_CLASS}]+$"]}
        pattern = "|".join(ends.get(self.side) or [*ends["left"], *ends["right"]])
        for name in texts(sheet, self.columns):
            text = sheet.columns[name].slot
            # Most cells begin and end with a character between ! and the end of ASCII, which is cheap to see.
            sides = [text] if self.side != "right" else []
            sides += [sheet.let(f"array_extract({text}, -1)", text)] if self.side != "left" else []
            guard = " AND ".join(f"{side} >= '!' AND {side} < chr(127)" for side in sides)
            plain = sheet.let(f"CASE WHEN {guard} OR {text} = '' THEN true ELSE false END", *sides, text)
            rest = sheet.call(f"regexp_replace(t, {literal(pattern)}, '', 'g')", text)
            value = sheet.let(f"CASE WHEN {plain} THEN {text} ELSE {rest} END", plain, text)
            changed = sheet.let(f"CASE WHEN {plain} THEN false ELSE {value} <> {text} END", plain, value, text)
            sheet.set(name, value, TEXT, changed)


class InnerSpace(Rule, frozen=True, tag="inner_space"):
    """White space within the text becomes one blank."""

    columns: AllOrNames = ()

    def apply(self, sheet: Sheet) -> None:
        odd = f"[{WHITE_CLASS}]{{2,}}|[{WHITE_CLASS.replace(' ', '')}]"
        # Inner is what has something else on both sides: what is at the ends, `trim` is for.
        inner = literal(f"([^{WHITE_CLASS}])(?:{odd})([^{WHITE_CLASS}])")
        for name in texts(sheet, self.columns):
            text = sheet.columns[name].slot
            # Twice, since a single character may have such white space on both sides.
            once = rf"regexp_replace({text}, {inner}, '\1 \2', 'g')"
            twice = rf"regexp_replace({once}, {inner}, '\1 \2', 'g')"
            _set(
                sheet,
                name,
                sheet.let(f"CASE WHEN regexp_matches({text}, {literal(odd)}) THEN {twice} ELSE {text} END", text),
            )


class Case(Rule, frozen=True, tag="case"):
    """Capital letters, small letters, or a capital letter at the beginning of each word."""

    columns: Names
    to: Literal["upper", "lower", "title"]

    def apply(self, sheet: Sheet) -> None:
        for name in texts(sheet, self.columns):
            text = sheet.columns[name].slot
            _set(sheet, name, sheet.let(_cased(text, self.to), text))


def _cased(text: str, to: str) -> str:
    if to != "title":
        return f"{to}({text})"
    words = r"[\p{L}\p{M}\p{N}'’]+|[^\p{L}\p{M}\p{N}'’]+"
    parts = (
        f"list_transform(regexp_extract_all({text}, {literal(words)}), lambda word: upper(word[1]) || lower(word[2:]))"
    )
    return f"array_to_string({parts}, '')"


class NullTokens(Rule, frozen=True, tag="null_tokens"):
    """Words that stand for nothing become null."""

    columns: AllOrNames = ()
    tokens: Annotated[Words, Meta(min_length=1, description="The words.")] = NOTHING
    ignore_case: bool = True

    def apply(self, sheet: Sheet) -> None:
        tokens = {lowered(token) if self.ignore_case else token for token in self.tokens}
        # Letters of other sizes may have other lengths: the sign for kelvin has three bytes, and its k has one.
        longest = max(len(token.encode()) for token in tokens) * (3 if self.ignore_case else 1)
        compared = "lower(t)" if self.ignore_case else "t"
        # Not IN, which DuckDB makes a join of.
        listed = f"list_contains([{literals(sorted(tokens))}], {compared})"
        cheap = f"strlen(t) <= {longest}" + ("" if "" in tokens else " AND t <> ''")
        body = f"CASE WHEN {cheap} THEN {listed} ELSE false END"
        for name in texts(sheet, self.columns):
            text = sheet.columns[name].slot
            found = sheet.let(sheet.call(body, text), text)
            value = sheet.let(f"CASE WHEN {found} THEN NULL ELSE {text} END", found, text)
            sheet.set(name, value, TEXT, found)


class Replace(Rule, frozen=True, tag="replace"):
    """What a pattern finds in the text is replaced: `\\1` is its first group."""

    columns: Names
    pattern: Pattern
    by: Annotated[str, Meta(max_length=2_000, description="What it is replaced by.")]
    literal: Annotated[bool, Meta(description="The pattern is no regular expression, but a text.")] = False
    ignore_case: bool = False
    first_only: bool = False

    def check(self) -> Iterator[WrongRule]:
        yield from ([] if self.literal else wrong_patterns(self.pattern, ("pattern",), self.by))

    def apply(self, sheet: Sheet) -> None:
        options = ("" if self.first_only else "g") + ("i" if self.ignore_case else "") + ("l" if self.literal else "")
        by = self.by.replace("\\", r"\\") if self.literal else self.by
        for name in texts(sheet, self.columns):
            text = sheet.columns[name].slot
            body = f"regexp_replace(t, {literal(self.pattern)}, {literal(by)}, {literal(options)})"
            _set(sheet, name, sheet.let(sheet.call(body, text), text))


class Map(Rule, frozen=True, tag="map"):
    """Texts become others, by a table."""

    columns: Names
    values: Annotated[Mapping[Word, Word | None], Meta(min_length=1, max_length=100_000, description="The table.")]
    ignore_case: bool = False
    otherwise: Annotated[
        Literal["keep", "null", "reject"], Meta(description="What becomes of a text that is not in the table.")
    ] = "keep"

    def check(self) -> Iterator[WrongRule]:
        seen: dict[str, str] = {}
        for text in self.values if self.ignore_case else ():
            if (other := seen.setdefault(lowered(text), text)) != text:
                detail = f"{other[:80]} and {text[:80]} are the same where case is ignored."
                yield WrongRule(("values", text), "duplicate", detail)

    def apply(self, sheet: Sheet) -> None:
        table = {lowered(text) if self.ignore_case else text: value for text, value in self.values.items()}
        nulls = [text for text, value in table.items() if value is None]
        texts_ = {text: value for text, value in table.items() if value is not None}
        for name in texts(sheet, self.columns):
            text = sheet.columns[name].slot
            key = sheet.let(f"lower({text})", text) if self.ignore_case else text
            found = self._found(sheet, key, texts_)
            nulled = sheet.let(f"list_contains([{literals(nulls)}], {key})", key) if nulls else None
            uses = (found, text, *([nulled] if nulled else []))
            unknown = sheet.let(
                f"{found} IS NULL AND NOT {missing(text)}" + (f" AND NOT {nulled}" if nulled else ""), *uses
            )
            kept = text if self.otherwise == "keep" else "NULL"
            whens = f"WHEN {found} IS NOT NULL THEN {found} " + (f"WHEN {nulled} THEN NULL " if nulled else "")
            if self.otherwise == "reject":
                detail = sheet.let(f"{shown(text)} || ' is not in the table of values.'", text)
                sheet.reject(unknown, name, "not_mapped", detail)
            value = sheet.let(f"CASE {whens}WHEN {text} = '' THEN {text} ELSE {kept} END", *uses)
            changed = sheet.let(f"{value} IS DISTINCT FROM {text}", value, text)
            sheet.set(name, value, TEXT, changed)

    def _found(self, sheet: Sheet, key: str, table: Mapping[str, str]) -> str:
        if not table:
            return sheet.let("CAST(NULL AS VARCHAR)")
        if len(table) > _MOST_BRANCHES:
            return sheet.look_up(key, table)
        branches = " ".join(f"WHEN {literal(text)} THEN {literal(value)}" for text, value in table.items())
        return sheet.let(sheet.call(f"CASE t {branches} END", key), key)


def wrong_patterns(pattern: str, path: tuple[str | int, ...], by: str = "") -> Iterator[WrongRule]:
    refused = _refusal(pattern, by)
    if refused is not None:
        yield WrongRule(path, "wrong_pattern", f"This is no regular expression of RE2: {refused}.")


@lru_cache(maxsize=1024)
def _refusal(pattern: str, by: str) -> str | None:
    with _judge().cursor() as connection:
        try:
            connection.execute("SELECT regexp_replace('', ?, ?)", [pattern, by]).fetchall()
        except duckdb.Error as refused:
            return str(refused).partition("\n")[0].partition(": ")[2][:200]
    return None


@cache
def _judge() -> duckdb.DuckDBPyConnection:
    """One for all: to open one takes longer than a hundred judgements."""
    return duckdb.connect(config={"threads": 1})


def _set(sheet: Sheet, name: str, value: str) -> None:
    """Text becomes other text, and null stays null."""
    text = sheet.columns[name].slot
    sheet.set(name, value, TEXT, sheet.let(f"{value} <> {text}", value, text))
