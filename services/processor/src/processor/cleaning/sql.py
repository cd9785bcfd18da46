"""Names, values and patterns in SQL. Whatever comes from a recipe or from a file gets into a statement here, nowhere
else."""

from collections.abc import Iterable

# White space of Unicode, and two characters that cannot be seen.
WHITE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200C))) + "\u2028\u2029\u202f\u205f\u3000\ufeff"
WHITE_CLASS = r"\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200B}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}\x{FEFF}"

TEXT = "VARCHAR"


def identifier(name: str) -> str:
    return '"' + _whole(name).replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + _whole(text).replace("'", "''") + "'"


def literals(texts: Iterable[str]) -> str:
    return ", ".join(literal(text) for text in texts)


def typed(text: str, type_: str) -> str:
    return literal(text) if type_ == TEXT else f"CAST({literal(text)} AS {type_})"


def lowered(text: str) -> str:
    """As `lower` writes it: letter by letter, and a dotted capital I is an i."""
    return "".join("i" if letter == "İ" else letter.lower() for letter in text)


def written(slot: str, type_: str) -> str:
    """A value as it stands in a CSV file."""
    return slot if type_ == TEXT else f"CAST({slot} AS VARCHAR)"


def shown(slot: str, type_: str = TEXT) -> str:
    """A value in a sentence."""
    return f"'“' || left({written(slot, type_)}, 80) || '”'"


def bound(sql: str, body: str) -> str:
    """`body` with `x` as what `sql` gives, which is computed once, and only where this stands."""
    return f"list_transform([{sql}], lambda x: {body})[1]"


def missing(slot: str, type_: str = TEXT) -> str:
    return f"({slot} IS NULL OR {slot} = '')" if type_ == TEXT else f"{slot} IS NULL"


def _whole(text: str) -> str:
    if "\0" in text:  # where DuckDB's parser would end
        raise ValueError("A NUL character cannot be in a statement.")
    return text
