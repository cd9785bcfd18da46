"""The sections of the page about columns."""

from collections.abc import Iterator, Sequence

from processor.cleaning.report.cells import cell, named
from processor.cleaning.report.document import Bins, ColumnReport, Correlations, Report, Spread
from processor.cleaning.report.markup import Child, Markup, element
from processor.cleaning.report.page_parts import NUMBER, figure, legend, numbers_of, paragraph, section, table
from processor.cleaning.report.plots import bar, bin_ends, histogram
from processor.cleaning.report.words import counted, edge, number, share

_MOST_TOP = 10
_MOST_DROPPED = 40
_SHADES = 5
_NEARLY_ALL = 0.9  # of the values differ: none is frequent
_FEWEST_OF_BAR = 20  # a value that is rarer than one in so many does not fill its bar


def shown(report: Report) -> list[ColumnReport]:
    """Those with details, which are the most interesting."""
    return [column for column in report.columns if column.after is not None]


def missing(report: Report) -> Markup:
    columns = [one for one in shown(report) if one.missing.before or one.missing.after]
    rows = report.rows.out
    whole = len(shown(report)) - len(columns)
    worst = max((max(one.missing.before or 0, one.missing.after or 0) for one in columns), default=0)

    def cells(column: ColumnReport) -> Sequence[Child]:
        before, after = column.missing.before, column.missing.after or 0
        bars = [bar(before or 0, worst, "before"), bar(after, worst, "after")]
        return (
            named(column.name),
            "new column" if before is None else [number(before), _of(before, rows)],
            [number(after), _of(after, rows)],
            element("span", bars, class_="bars"),
        )

    heads = [("Column", None), ("Before", NUMBER), ("After", NUMBER), ("Before and after", "plot-cell")]
    none = f"{counted(whole, 'column')} {'has' if whole == 1 else 'have'} no missing cell, before and after."
    return section(
        "missing",
        "Missing values",
        paragraph(
            "Cells with nothing in them, in the ",
            counted(rows, "row"),
            " that came out. Exact: before is after, with what the log of changes says undone. A cell that says N/A "
            "has something in it before, and nothing after a rule has made it null.",
        ),
        _of_many(report),
        legend((("before", "before"), ("after", "after"))) if columns else None,
        table("Missing cells per column, before and after", heads, map(cells, columns), class_="missing")
        if columns
        else None,
        paragraph(none, class_="note") if whole else None,
    )


def _of(part: int, whole: int) -> Markup:
    return element("span", f" {share(part, whole)}", class_="share")


def types(report: Report) -> Markup:
    def cells(column: ColumnReport) -> Sequence[Child]:
        sure = column.kind_confidence
        return (
            named(column.name),
            _origin(column),
            cell(column.kind) if column.kind else "–",
            "–" if sure is None else share(sure, 1),
            element("code", column.type),
        )

    heads: list[tuple[str, str | None]] = [("Column", None), ("In the file", None), ("Looked like", None)]
    heads += [("Sure", NUMBER), ("Type now", None)]
    dropped: list[Child] = []
    if report.dropped:
        names: list[Child] = []
        for one in report.dropped[:_MOST_DROPPED]:
            names += [", " if names else "", named(one.name)]
        more = len(report.dropped) - _MOST_DROPPED
        dropped = [
            paragraph(
                "Columns of the file that are not in the result: ",
                names,
                f" and {more:,} more" if more > 0 else "",
                ".",
            )
        ]
    return section(
        "types",
        "Types",
        _of_many(report),
        table("What each column was as text, and what it is now", heads, map(cells, shown(report)), class_="types"),
        dropped,
    )


def columns(report: Report) -> Markup:
    measured = report.measured
    of_file = "all records" if measured.before_is_all else f"a sample of {counted(measured.before_records, 'record')}"
    of_table = "all rows" if measured.after_is_all else f"a sample of {counted(measured.after_rows, 'row')}"
    return section(
        "columns",
        "Columns",
        paragraph(
            f"Before is of {of_file} of the file, rejects among them if they fit the table; after is of {of_table} of "
            "the cleaned table. Plots show shares of the values that could be read.",
        ),
        _of_many(report),
        legend((("before-line", "before"), ("after", "after"))),
        [_card(at, column) for at, column in enumerate(shown(report))],
    )


def _card(at: int, column: ColumnReport) -> Markup:
    before, after = column.before, column.after
    assert after is not None
    became = [element("span", column.kind, class_="was"), " → "] if column.kind else []
    said: list[Child] = [element("span", became, element("code", column.type), class_="chip")]
    if column.changed_cells:
        said.append(element("span", counted(column.changed_cells, "changed cell"), class_="chip"))
    if column.rejected_rows:
        said.append(element("span", counted(column.rejected_rows, "rejected row"), class_="chip bad"))
    plot: Child = None
    before_bins, after_bins = before.bins if before else None, after.bins
    known = after_bins or before_bins
    if known is not None and len(known.counts) == 1 and not known.below and not known.above:
        plot = paragraph(_only(known), class_="note")
    elif known is not None:
        id_ = f"column-{at}"
        plot = figure(
            histogram(id_, column.name, before_bins, after_bins),
            element("figcaption", _caption(known, before_bins, after_bins)),
            numbers_of(
                f"Values of {column.name:.60} in bins",
                [("From", None), ("to", NUMBER), ("Before", NUMBER), ("After", NUMBER)],
                _bins(before_bins, after_bins),
            ),
        )
    tops = element(
        "div",
        _top("before", "Before", column, before) if before else None,
        _top("after", "After", column, after),
        class_="tops",
    )
    return element(
        "article",
        element("h3", named(column.name, 120), id=f"column-{at}-heading"),
        element("p", said, class_="chips"),
        element("div", element("div", plot, _facts(column, after)), tops, class_="split"),
        class_="card",
        aria_labelledby=f"column-{at}-heading",
    )


def _only(bins: Bins) -> str:
    value = edge(bins.edges[0], bins.unit, bins.edges[1] - bins.edges[0])
    return f"All values have {value} characters." if bins.unit == "characters" else f"All values are near {value}."


def _caption(known: Bins, before: Bins | None, after: Bins | None) -> str:
    what = {"number": "Values", "characters": "Length in characters"}.get(known.unit, "Time (UTC)")
    beyond = max((each.below + each.above for each in (before, after) if each is not None), default=0)
    return what if not beyond else f"{what}; values far from the others are not drawn (up to {number(beyond)})"


def _bins(before: Bins | None, after: Bins | None) -> Iterator[Sequence[Child]]:
    known = after or before
    assert known is not None

    def count(bins: Bins | None, at: int) -> str:
        return "–" if bins is None else number(bins.counts[at])

    if any(bins is not None and bins.below for bins in (before, after)):
        yield ("below", "", *("–" if bins is None else number(bins.below) for bins in (before, after)))
    for at in range(len(known.counts)):
        low, high = (*bin_ends(known, at), "")[:2]
        yield low, high, count(before, at), count(after, at)
    if any(bins is not None and bins.above for bins in (before, after)):
        yield ("above", "", *("–" if bins is None else number(bins.above) for bins in (before, after)))


def _top(class_: str, title: str, column: ColumnReport, spread: Spread) -> Markup:
    filled = spread.rows - spread.missing
    where = "" if spread.is_all else " in the sample"
    if not spread.top:
        said = "has no values" if not filled else "has no value twice"
        return paragraph(f"{title}, it {said}{where}.", class_="note")
    if spread.distinct is not None and spread.distinct > _NEARLY_ALL * filled:
        said = f"{number(spread.distinct)} different values in {counted(filled, 'cell')}"
        return paragraph(f"{title}, it has {said}{where}.", class_="note")
    whole = max(spread.top[0].count, filled / _FEWEST_OF_BAR)
    rows = [
        (cell(value.value, 80), bar(value.count, whole, class_), share(value.count, filled))
        for value in spread.top[:_MOST_TOP]
    ]
    distinct = "" if spread.distinct is None else f" of {number(spread.distinct)}"
    return table(
        f"{title}: most frequent{distinct} values of {column.name:.60}",
        [("Value", None), ("How often", "plot-cell"), ("Share", NUMBER)],
        rows,
        class_="top",
    )


def _facts(column: ColumnReport, after: Spread) -> Markup:
    said: list[tuple[str, Child]] = []
    if column.least is not None and column.most is not None:
        said += [("Least", cell(column.least, 40)), ("Most", cell(column.most, 40))]
    if after.mean is not None and after.bins is not None and after.bins.unit in ("number", "characters"):
        what = "length" if after.bins.unit == "characters" else "value"
        said.append((f"Mean {what}", number(after.mean)))
        if after.deviation is not None:
            said.append(("Deviation", number(after.deviation)))
        if after.quartiles is not None:
            said.append(("Quartiles", " · ".join(map(number, after.quartiles))))
    if after.distinct is not None:
        said.append(("Distinct" if after.is_all else "Distinct in sample", number(after.distinct)))
    said.append(("Missing", number(column.missing.after or 0)))
    return element(
        "dl", [element("div", element("dt", name), element("dd", value)) for name, value in said], class_="facts"
    )


def correlations(found: Correlations) -> Markup:
    """A table whose cells are coloured by their numbers: heat map and numbers in one."""
    count = len(found.columns)
    head = element(
        "tr",
        element("th", "Column", scope="col"),
        [
            element("th", str(at + 1), element("span", f" {name:.40}", class_="hidden"), scope="col")
            for at, name in enumerate(found.columns)
        ],
    )
    body = [
        element(
            "tr",
            element("th", f"{at + 1}\u00a0 ", named(name, 40), scope="row"),
            [element("td", _signed(value), class_=_shade(value)) for value in found.values[at]],
        )
        for at, name in enumerate(found.columns)
    ]
    where = "all rows" if found.is_all else f"a sample of {counted(found.rows, 'row')}"
    caption = f"Pearson's correlation of {count} numeric columns"
    heat = element("table", element("caption", caption), element("thead", head), element("tbody", body), class_="heat")
    return section(
        "correlations",
        "Correlations",
        paragraph(
            f"Pearson's, over {where} of the cleaned table: 1 where two columns rise together in one line, −1 where "
            "one falls as the other rises, 0 where neither says anything of the other in that way."
        ),
        element("div", heat, class_="scroll", role="region", aria_label=caption, tabindex=0),
    )


def _signed(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}".replace("-", "−") if abs(value) >= 0.005 else "0"


def _shade(value: float | None) -> str:
    level = 0 if value is None else round(abs(value) * _SHADES)
    return f"{'minus' if value is not None and value < 0 else 'plus'}-{level}"


def _origin(column: ColumnReport) -> Child:
    if column.source is not None:
        return "the same" if column.source == column.name else named(column.source)
    if column.made_of:
        names: list[Child] = []
        for name in column.made_of[:5]:
            names += [", " if names else "made of ", named(name)]
        return names
    return "not in it"


def _of_many(report: Report) -> Child:
    count, there = len(shown(report)), len(report.columns)
    if count == there:
        return None
    return paragraph(
        f"Of {there:,} columns, the {count:,} to which most was done are shown; report.json has all of them.",
        class_="note",
    )
