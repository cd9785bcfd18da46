"""The sections of the page about what was done: rules, changes, rejects, duplicates, findings."""

from collections.abc import Sequence

import msgspec

from processor.cleaning.report.cells import cell, named, plain
from processor.cleaning.report.document import (
    ChangeExample,
    Duplicates,
    Finding,
    FindingExample,
    OverFile,
    Reason,
    RejectExample,
    Report,
    RuleDone,
)
from processor.cleaning.report.markup import Child, Markup, element
from processor.cleaning.report.page_parts import NUMBER, figure, legend, numbers_of, paragraph, section, table
from processor.cleaning.report.plots import bar, strip
from processor.cleaning.report.words import code, counted, number, share, size

_MOST_RULES, _MOST_REASONS, _MOST_EXAMPLES, _MOST_FINDINGS = 60, 30, 24, 30
_LONGEST_PARAMETERS, _MOST_COLUMNS = 240, 8


def recipe(report: Report) -> Markup:
    most = max((rule.changed_cells for rule in report.rules), default=0)

    def cells(rule: RuleDone) -> Sequence[Child]:
        parameters = msgspec.json.encode(rule.parameters).decode() if rule.parameters else ""
        said = [
            element("strong", code(rule.name)),
            element("p", cell(rule.why), class_="why") if rule.why else None,
            element("p", element("code", plain(parameters, _LONGEST_PARAMETERS)), class_="why") if parameters else None,
        ]
        return (
            str(rule.rule + 1),
            said,
            [number(rule.changed_cells), bar(rule.changed_cells, most, "after")],
            number(rule.rejected_rows),
            number(rule.duplicate_rows),
            number(rule.findings),
        )

    heads: list[tuple[str, str | None]] = [("Place", NUMBER), ("Rule", "wide"), ("Changed cells", NUMBER)]
    heads += [("Rejected rows", NUMBER), ("Duplicates", NUMBER), ("Findings", NUMBER)]
    if not report.rules:
        return section("recipe", "Recipe", paragraph("The recipe has no rules."))
    return section(
        "recipe",
        "Recipe",
        paragraph("The rules in their order, and what each of them did."),
        _more(len(report.rules), _MOST_RULES, "rules"),
        table("What each rule of the recipe did", heads, map(cells, report.rules[:_MOST_RULES]), class_="recipe"),
    )


def changes(report: Report) -> Markup:
    done = [rule for rule in report.rules if rule.examples]
    if not done:
        return section("changes", "Changes", paragraph("No cell was changed."))
    return section(
        "changes",
        "Changes",
        paragraph(
            f"{counted(report.changed_cells, 'change')} of cells, all of them in changes.parquet. Here are the most "
            "frequent of each rule."
        ),
        _more(len(done), _MOST_RULES, "rules"),
        [_changes_of(rule) for rule in done[:_MOST_RULES]],
    )


def _changes_of(rule: RuleDone) -> Markup:
    def cells(one: ChangeExample) -> Sequence[Child]:
        return named(one.column), cell(one.before), cell(one.after), number(one.times), number(one.line)

    names: list[Child] = []
    for column in rule.columns[:_MOST_COLUMNS]:
        names += [", " if names else "", named(column.column), f" {number(column.cells)}"]
    more = len(rule.columns) - _MOST_COLUMNS
    looked_at = "" if rule.examples_of == rule.changed_cells else f", of {number(rule.examples_of)} looked at"
    heads: list[tuple[str, str | None]] = [("Column", None), ("Before", "text"), ("After", "text")]
    heads += [("Times", NUMBER), ("First line", NUMBER)]
    return element(
        "article",
        element("h3", f"{rule.rule + 1}. {code(rule.name)}", id=f"changes-{rule.rule}"),
        paragraph(
            f"{counted(rule.changed_cells, 'cell')}: ", names, f" and {more:,} more columns" if more > 0 else "", "."
        ),
        table(f"Most frequent changes by rule {rule.rule + 1}{looked_at}", heads, map(cells, rule.examples)),
        aria_labelledby=f"changes-{rule.rule}",
        class_="part",
    )


def rejects(report: Report) -> Markup:
    found = report.rejects
    if not found.by_reason:
        return section("rejects", "Rejects", paragraph("No record was rejected."))
    total = sum(reason.rows for reason in found.by_reason)

    def cells(one: Reason) -> Sequence[Child]:
        by = "reading" if one.rule is None else f"{one.rule + 1}. {code(one.rule_name or '')}"
        column = "–" if one.column is None else named(one.column)
        most = found.by_reason[0].rows
        return code(one.reason), by, column, number(one.rows), share(one.rows, total), bar(one.rows, most, "rejected")

    def example(one: RejectExample) -> Sequence[Child]:
        column: Child = None if one.column is None else [" in ", named(one.column)]
        why = [element("strong", code(one.reason)), column]
        return (
            number(one.line),
            number(one.byte_offset),
            [*why, element("p", cell(one.detail), class_="why") if one.detail else None],
            cell(one.text, 240) if one.text is not None else "–",
        )

    heads: list[tuple[str, str | None]] = [("Reason", None), ("By", None), ("Column", None)]
    heads += [("Rows", NUMBER), ("Share", NUMBER), ("Of the most frequent", "plot-cell")]
    shown: list[tuple[str, str | None]] = [("Line", NUMBER), ("Byte", NUMBER), ("Why", None), ("Record", "text")]
    return section(
        "rejects",
        "Rejects",
        paragraph(
            f"{counted(total, 'record')} were left out" if total != 1 else "1 record was left out",
            ", byte for byte as they came, in rejects.csv; rejects.parquet says of each where it was and why.",
        ),
        _strip(found.over_file) if found.over_file else None,
        _more(len(found.by_reason), _MOST_REASONS, "reasons"),
        table("Rejects by reason", heads, map(cells, found.by_reason[:_MOST_REASONS])),
        table("Examples of rejects, with how each record begins", shown, map(example, found.examples[:_MOST_EXAMPLES])),
    )


def _strip(over: OverFile) -> Markup:
    parts = len(over.counts[0])
    totals = [sum(counts) for counts in zip(*over.counts, strict=True)]
    rows = (
        [size(over.bytes * part / parts), *(number(counts[part]) for counts in over.counts)]
        for part, total in enumerate(totals)
        if total
    )
    heads: list[tuple[str, str | None]] = [("From", None), *((code(reason), NUMBER) for reason in over.reasons)]
    return figure(
        strip(over),
        element("figcaption", f"Where in the file rejected records begin: {parts} parts of the same size."),
        legend((f"reason-{at}", code(reason)) for at, reason in enumerate(over.reasons)),
        numbers_of("Rejects in each part of the file that has any, by reason", heads, rows),
    )


def duplicates(found: Duplicates) -> Markup:
    if not found.rows:
        return section("duplicates", "Duplicates", paragraph("No row was removed as a duplicate."))
    heads: list[tuple[str, str | None]] = [("Row", NUMBER), ("Line", NUMBER), ("Stays: row", NUMBER), ("Rule", None)]
    rows = (
        (number(one.row), number(one.line), number(one.survivor_row), code(one.rule_name)) for one in found.examples
    )
    was, of = ("was", "another row") if found.rows == 1 else ("were", counted(found.survivors, "row"))
    return section(
        "duplicates",
        "Duplicates",
        paragraph(
            f"{counted(found.rows, 'row')} {was} the same as {of} that stayed, by the rule's measure; at most "
            f"{number(found.most_of_one)} of one. All of them are in duplicates.parquet."
        ),
        table("First duplicates", heads, rows, class_="narrow"),
    )


def findings(found: Sequence[Finding]) -> Markup:
    def cells(finding: Finding, one: FindingExample) -> Sequence[Child]:
        sure = "–" if one.confidence is None else share(one.confidence, 1)
        return number(one.line), cell(one.found), cell(one.expected), sure

    heads: list[tuple[str, str | None]] = [("Line", NUMBER), ("Found", "text"), ("Nearest expected", "text")]
    heads += [("Sure", NUMBER)]
    return section(
        "findings",
        "Findings",
        paragraph("What rules have seen, and left as it is. All of it is in findings.parquet."),
        _more(len(found), _MOST_FINDINGS, "findings"),
        [
            element(
                "article",
                element("h3", f"{one.rule + 1}. {code(one.rule_name)}: ", named(one.column), id=f"finding-{at}"),
                paragraph(f"{counted(one.cells, 'cell')}."),
                table(
                    f"First findings by rule {one.rule + 1} in {one.column:.60}",
                    heads,
                    [cells(one, each) for each in one.examples],
                )
                if one.examples
                else None,
                aria_labelledby=f"finding-{at}",
                class_="part",
            )
            for at, one in enumerate(found[:_MOST_FINDINGS])
        ],
    )


def _more(there: int, most: int, what: str) -> Child:
    if there <= most:
        return None
    return paragraph(f"The first {most} of {there:,} {what} are shown; report.json has all of them.", class_="note")
