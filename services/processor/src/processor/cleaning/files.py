"""What a clean leaves, by the names that its artifacts have."""

from collections.abc import Sequence

from processor.cleaning.recipe.document import Output

CLEANED, CHANGES, FINDINGS = "cleaned.parquet", "changes.parquet", "findings.parquet"
REJECTS, DUPLICATES = "rejects.parquet", "duplicates.parquet"
REJECTED_BYTES = "rejects.csv"  # of the input, exactly
# Of the logs. A rule is its place in the recipe; what is no row of the table, none has rejected.
_PLACE = "row BIGINT, line BIGINT, byte_offset BIGINT, bytes BIGINT"
_RULE = "rule INTEGER, rule_name VARCHAR"
LOGS = {
    REJECTS: f'{_PLACE}, "column" VARCHAR, reason VARCHAR, detail VARCHAR, {_RULE}',
    DUPLICATES: f"{_PLACE}, survivor_row BIGINT, {_RULE}",
    CHANGES: f'row BIGINT, line BIGINT, "column" VARCHAR, before VARCHAR, after VARCHAR, {_RULE}',
    FINDINGS: f'row BIGINT, line BIGINT, "column" VARCHAR, found VARCHAR, expected VARCHAR, confidence DOUBLE, {_RULE}',
}
_MARK = "\ufeff"


def text_file(output: Output) -> str | None:
    """What a recipe asks for beside the Parquet."""
    return None if output.format == "parquet" else f"cleaned.{output.format}"


def text_head(output: Output, names: Sequence[str]) -> bytes:
    """What is above the rows."""
    if output.format != "csv":
        return b""
    mark = _MARK if output.mark else ""
    line = output.delimiter.join(_cell(name, output) for name in names) + output.line_end
    return (mark + (line if output.header else "")).encode()


def _cell(name: str, output: Output) -> str:
    if output.quote == "needed" and not any(sign in name for sign in (output.delimiter, '"', "\r", "\n")):
        return name
    return '"' + name.replace('"', '""') + '"'
