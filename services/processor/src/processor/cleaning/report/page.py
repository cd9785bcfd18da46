"""The report as one page for people. It asks nobody for anything, and runs nothing: what it shows may be hostile."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from processor.cleaning.report import page_columns, page_log
from processor.cleaning.report.cells import cell, plain
from processor.cleaning.report.document import Choice, Report
from processor.cleaning.report.markup import Child, Markup, document, element, style
from processor.cleaning.report.page_parts import NUMBER, figure, paragraph, section, table
from processor.cleaning.report.plots import bar, rows_bar
from processor.cleaning.report.words import counted, number, share, size

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_TITLES = {
    "encoding": "Encoding",
    "delimiter": "Delimiter",
    "quote": "Quote",
    "escape": "Escape",
    "header": "First row names columns",
    "table": "Table",
    "preamble_lines": "Lines before the table",
    "footer_lines": "Lines after the table",
}


def page_of(report: Report) -> str:
    title = f"Cleaning report: {plain(report.file.name, 80)}" if report.file.name else "Cleaning report"
    sections = [
        ("file", "The file", _file(report)),
        ("recipe", "Recipe", page_log.recipe(report)),
        ("missing", "Missing values", page_columns.missing(report)),
        ("types", "Types", page_columns.types(report)),
        ("columns", "Columns", page_columns.columns(report)),
        ("rejects", "Rejects", page_log.rejects(report)),
        ("duplicates", "Duplicates", page_log.duplicates(report.duplicates)),
        ("changes", "Changes", page_log.changes(report)),
    ]
    if report.correlations is not None:
        sections.append(("correlations", "Correlations", page_columns.correlations(report.correlations)))
    if report.findings:
        sections.append(("findings", "Findings", page_log.findings(report.findings)))
    sections.append(("method", "How this was measured", _method(report)))
    links = [element("li", element("a", name, href=f"#{id_}")) for id_, name, _ in sections]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        style(_css()),
    )
    body = element(
        "body",
        element("a", "To the content", href="#content", class_="skip"),
        element("header", _summary(report)),
        element("nav", element("ul", links), aria_label="Contents"),
        element("main", [made for _, _, made in sections], id="content", tabindex=-1),
        element("footer", paragraph(f"Made by Millrace. Everything here is in report.json, version {report.version}.")),
    )
    return document(element("html", head, body, lang="en"))


@cache
def _css() -> str:
    return Path(__file__).with_name("page.css").read_text("utf-8")


def _summary(report: Report) -> Markup:
    rows, file = report.rows, report.file
    terms: list[Child] = [
        _term("in", rows.records, "rows in"),
        _sign("="),
        _term("out", rows.out, "rows out"),
        _sign("+"),
        _term("rejected", rows.rejected, "rejected"),
        _sign("+"),
        _term("duplicates", rows.duplicates, "duplicates"),
    ]
    holds = rows.records == rows.out + rows.rejected + rows.duplicates
    said = [size(file.bytes) if file.bytes is not None else "", *(f"from {one}" for one in file.compression)]
    missing = report.missing
    facts: list[tuple[str, Child]] = [
        ("Rows kept", share(rows.out, rows.records)),
        ("Changes of cells", number(report.changed_cells)),
        ("Columns", number(len(report.columns))),
        ("Empty cells, before → after", f"{number(missing.before or 0)} → {number(missing.after or 0)}"),
    ]
    return element(
        "div",
        paragraph("Cleaning report", class_="kicker"),
        element("h1", cell(file.name, 120) if file.name else "A file without a name"),
        paragraph(", ".join(filter(None, said)), class_="sub"),
        element("p", terms, class_="equation"),
        figure(rows_bar(rows), paragraph("The sum holds." if holds else "The sum does not hold.", class_="note")),
        element(
            "dl",
            [element("div", element("dt", name), element("dd", value)) for name, value in facts],
            class_="key-facts",
        ),
    )


def _term(class_: str, count: int, name: str) -> Markup:
    return element("span", element("b", number(count)), " ", element("span", name), class_=f"term {class_}")


def _sign(sign: str) -> list[Child]:
    return [" ", element("span", sign, class_="sign"), " "]


def _file(report: Report) -> Markup:
    def cells(choice: Choice) -> Sequence[Child]:
        others: list[Child] = []
        for other in choice.alternatives:
            others += [", " if others else "Else: ", _value(choice.what, other)]
        return (
            _TITLES.get(choice.what, choice.what),
            _value(choice.what, choice.value),
            ["given" if choice.overridden else share(choice.confidence, 1), bar(choice.confidence, 1, "after")],
            [cell(choice.reason, 400), element("p", others, class_="why") if others else None],
        )

    heads: list[tuple[str, str | None]] = [("What", None), ("Decided", None), ("How sure", NUMBER), ("Why", "wide")]
    notes = element("ul", [element("li", cell(note, 400)) for note in report.notes], class_="notes")
    return section(
        "file",
        "The file",
        paragraph("How it was read. Each of these can be overridden by the job's options."),
        notes if report.notes else None,
        table("What was decided of the file", heads, map(cells, report.decisions)),
    )


def _value(what: str, value: object) -> Child:
    match value:
        case None:
            return "doubled quotes" if what == "escape" else "none"
        case bool():
            return "yes" if value else "no"
        case int():
            return number(value)
        case _:
            return element("code", cell(str(value), 80))


def _method(report: Report) -> Markup:
    measured = report.measured
    if measured.before_is_all:
        before = f"Before is of all {counted(measured.before_records, 'record')} of the file that fit the table."
    else:
        before = (
            f"Distributions of before are of a sample: {counted(measured.before_records, 'record')} from pieces that "
            f"are evenly spread over the file ({number(measured.before_misfits)} in them did not fit the table)."
        )
    if measured.after_is_all:
        after = "Distributions of after and correlations are of all rows."
    else:
        after = (
            f"Distributions of after and correlations are of a sample: {counted(measured.after_rows, 'row')} from "
            "stretches that are evenly spread over the cleaned table."
        )
    return section(
        "method",
        "How this was measured",
        element(
            "ul",
            element(
                "li",
                "Exact, of the whole file: rows, rejects, duplicates, changes, findings, missing cells, the ends.",
            ),
            element("li", before),
            element("li", after),
            element(
                "li", "A change is one rule's change of one cell: a cell that two rules have changed counts twice."
            ),
            element("li", "Distinct values and the most frequent ones are of the same rows as the distributions."),
        ),
    )
