"""Delimiter, quote and escape: those that make the most regular rows of the likeliest fields."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from msgspec import UNSET

from processor.cleaning.reading.decisions import Decision, counted, decided, overridden
from processor.cleaning.reading.looks import look
from processor.cleaning.reading.options import Options
from processor.cleaning.reading.rows import Grammar, Lines, Row, rows

_MOST_ROWS = 1000
_MOST_FIELDS = 20_000  # that are looked at, for each grammar

# How likely each is before anything is read.
_DELIMITERS = (
    dict.fromkeys((",", ";", "\t"), 1.0)
    | {"|": 0.97}
    | dict.fromkeys(("||", "|~|", "|^|", "^|^", "~|~", "#|#", ":|:", "::", ";;", "~~", "^^", "@@", "$$", "##"), 0.97)
    | dict.fromkeys((", ", "; "), 0.9)
    | dict.fromkeys(("\x1f", "\x1e", "\x1c", "\x01", "\x02", "^", "~", "¦", "§", "¬", "þ"), 0.93)
    | dict.fromkeys((":", "#", "*", "!", "%", "&", "@", "$", "=", "\\", "`"), 0.5)
    | {" ": 0.45}
)
_FEWEST_PER_LINE = 0.3
_UNQUOTED = 0.3  # what no quotes are worth where quotes enclose fields
_FEWEST_APOSTROPHES, _APOSTROPHES, _FEW_APOSTROPHES = 3, 0.2, 0.85  # those of a text are no quotes
_MANY_STRAY = 0.1  # share of rows
_ONE_COLUMN = 0.4  # what the regularity of one column is worth, of which every text has one
_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar", " ": "a blank", ":": "a colon"}


class Dialect(NamedTuple):
    delimiter: Decision[str]
    quote: Decision[str | None]
    escape: Decision[str | None]
    width: int  # columns that most rows have

    @property
    def grammar(self) -> Grammar:
        return Grammar(self.delimiter.value, self.quote.value, self.escape.value)


class _Tried(NamedTuple):
    grammar: Grammar
    score: float
    width: int  # that most rows have
    regular: float  # share of rows that have it
    quoted: int  # fields
    flawed: int  # rows
    rows: int


def decide_dialect(lines: Lines, options: Options) -> Dialect:
    """Of the first lines of a text."""
    tried = _with_quotes_that_enclose([_try(lines, grammar) for grammar in _grammars(lines, options)])
    best = max(tried, key=lambda one: one.score)
    delimiter = _delimiter(best, tried, options)
    return Dialect(delimiter, _quote(best, tried, options), _escape(best, tried, lines, options), best.width)


def _grammars(lines: Lines, options: Options) -> Iterator[Grammar]:
    text = lines.text
    delimiters = _likely_delimiters(lines) if options.delimiter is UNSET else [options.delimiter]
    for delimiter in delimiters:
        for quote in _quotes(text, delimiter, options):
            for escape in _escapes(text, quote, options):
                yield Grammar(delimiter, quote, escape)


def _likely_delimiters(lines: Lines) -> Iterable[str]:
    fewest = _FEWEST_PER_LINE * sum(1 for number in range(len(lines)) if lines[number].strip())
    found = [each for each in _DELIMITERS if lines.text.count(each) >= fewest]
    for each in (", ", "; "):  # only where it hides quotes
        if each in found and not any(each + quote in lines.text for quote in "\"'"):
            found.remove(each)
    return [*found, _absent_delimiter(lines)]


def _quotes(text: str, delimiter: str, options: Options) -> Iterator[str | None]:
    if options.quote is not UNSET:
        yield options.quote
        return
    yield '"'
    if '"' in text:
        yield None
    if delimiter + "'" in text or "\n'" in text or text.startswith("'"):
        yield "'"


def _escapes(text: str, quote: str | None, options: Options) -> Iterator[str | None]:
    if quote is None:
        yield None
    elif options.escape is not UNSET:
        yield options.escape
    else:
        yield None
        if f"\\{quote}" in text:
            yield "\\"


def _try(lines: Lines, grammar: Grammar) -> _Tried:
    found = [row for row in islice(rows(lines, grammar), _MOST_ROWS) if not row.is_blank]
    widths = Counter(len(row.fields) for row in found if not row.is_flawed)
    flawed = sum(row.is_flawed for row in found)
    if not widths:
        return _Tried(grammar, 0.0, 1, 0.0, 0, flawed, len(found))
    several = {width: count for width, count in widths.items() if width > 1}
    width = max(several or widths, key=lambda width: (widths[width], width))
    pattern = sum((count / len(found)) ** 2 * (width - 1) / width for width, count in several.items()) ** 0.5
    pattern *= (widths[width] / len(found)) ** 0.5
    alone = _ONE_COLUMN * (widths[1] / len(found)) ** 2
    if alone > pattern:
        width = 1
    likely = _likely_fields([row for row in found if len(row.fields) == width])
    score = max(pattern, alone) * likely**2 * (1 - flawed / len(found)) ** 2
    score *= _DELIMITERS.get(grammar.delimiter, 0.9) if width > 1 else 1.0
    quoted = sum(row.quoted for row in found)
    if grammar.quote == "'" and quoted < max(_FEWEST_APOSTROPHES, _APOSTROPHES * len(found)):
        score *= _FEW_APOSTROPHES
    return _Tried(grammar, score, width, widths[width] / len(found), quoted, flawed, len(found))


def _with_quotes_that_enclose(tried: list[_Tried]) -> list[_Tried]:
    """Where more quotes enclose fields than are stray, or few are stray, they are quotes: a row that does not close
    its quote is to be seen as one."""
    enclosing = {
        one.grammar.delimiter
        for one in tried
        if one.grammar.quote and (one.quoted > one.flawed or one.flawed < _MANY_STRAY * one.rows)
    }
    return [
        one._replace(score=one.score * _UNQUOTED)
        if one.grammar.quote is None and one.grammar.delimiter in enclosing
        else one
        for one in tried
    ]


def _likely_fields(table: list[Row]) -> float:
    """The mean look of the rows' fields. What was in quotes was said to be one field."""
    seen = 0
    total = 0.0
    for row in table:
        looks = sum(map(look, row.fields))
        total += looks + 0.8 * max(0.0, len(row.fields) - looks) if row.quoted == len(row.fields) else looks
        seen += len(row.fields)
        if seen > _MOST_FIELDS:
            break
    return total / max(1, seen)


def _absent_delimiter(lines: Lines) -> str:
    """For a table of one column: a delimiter that no line has."""
    return next((each for each in (",", ";", "\t", "|", "\x1f") if each not in lines.text), "\x1f")


def _delimiter(best: _Tried, tried: list[_Tried], options: Options) -> Decision[str]:
    mark = best.grammar.delimiter
    if options.delimiter is not UNSET:
        return overridden(mark)
    scores = _best_by([one for one in tried if one.width > 1 or one is best], lambda one: one.grammar.delimiter)
    sure = _sureness(scores, mark) * (1 - 0.5 ** min(10, best.rows))
    others = [(other, (1 - sure) * score) for other, score in scores.items() if other and other != mark]
    if best.width <= 1:
        return decided(mark, sure, "No delimiter makes regular rows: the file seems to have one column.", others)
    reason = (
        f"With {_NAMES.get(mark, repr(mark))} between fields, {best.regular:.0%} of the sample's rows have "
        f"{best.width} columns, and their fields look most like values."
    )
    return decided(mark, sure, reason, others)


def _quote(best: _Tried, tried: list[_Tried], options: Options) -> Decision[str | None]:
    quote = best.grammar.quote
    if options.quote is not UNSET:
        return overridden(quote)
    same = [one for one in tried if one.grammar.delimiter == best.grammar.delimiter or best.width == 1]
    scores = _best_by(same, lambda one: one.grammar.quote)
    others = [(other, score) for other, score in scores.items() if other != quote]
    if quote is None:
        return decided(quote, _sureness(scores, quote), "The quotes of the sample do not enclose fields.", others)
    if best.quoted == 0:
        reason = "No field of the sample is in quotes; the usual quote is taken, should there be some later."
        return decided(quote, 0.7, reason, [(None, 0.2), *others])
    flaws = f", and in {counted(best.flawed, 'row')} they are not closed properly" if best.flawed else ""
    reason = f"In the sample {counted(best.quoted, 'field')} in {quote} quotes were found{flaws}."
    return decided(quote, _sureness(scores, quote), reason, others)


def _escape(best: _Tried, tried: list[_Tried], lines: Lines, options: Options) -> Decision[str | None]:
    quote, escape = best.grammar.quote, best.grammar.escape
    if quote is None:
        return decided(None, 1.0, "There are no quotes that could need an escape.")
    if options.escape is not UNSET:
        return overridden(escape)
    same = [one for one in tried if one.grammar[:2] == best.grammar[:2]]
    scores = _best_by(same, lambda one: one.grammar.escape)
    if escape is not None:
        reason = f"Quotes within fields are written {escape}{quote}."
        return decided(escape, _sureness(scores, escape), reason, [(None, scores.get(None, 0.0))])
    if quote * 2 in lines.text and best.quoted:
        return decided(None, _sureness(scores, None), "Quotes within fields are doubled.", [("\\", 0.05)])
    reason = "No field of the sample has a quote in it; the usual way is taken, which is to double it."
    return decided(None, 0.8, reason, [("\\", 0.2)])


def _best_by(tried: list[_Tried], key: Callable[[_Tried], str | None]) -> dict[str | None, float]:
    scores: dict[str | None, float] = {}
    for one in tried:
        scores[key(one)] = max(scores.get(key(one), 0.0), one.score)
    return scores


def _sureness(scores: dict[str | None, float], chosen: str | None) -> float:
    """Half where another is as good, and nearly whole where the next is half as good."""
    second = max((score for other, score in scores.items() if other != chosen), default=0.0)
    own = scores.get(chosen, 0.0)
    return min(0.99, 1 / (1 + (second / own) ** 4)) if own else 0.3
