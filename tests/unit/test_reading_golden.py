"""Each file of tests/golden/cleaning is what the JSON beside it says: one for each thing that dialects differ in."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from processor.cleaning.reading.deciding import Decisions, decide
from processor.cleaning.reading.options import options_from

GOLDEN = Path(__file__).parents[1] / "golden" / "cleaning"
DECIDED = ("encoding", "delimiter", "quote", "escape", "preamble_lines", "header", "footer_lines", "table")
FILES = sorted(GOLDEN.glob("*.csv"))


def told(decisions: Decisions) -> dict[str, Any]:
    """The decisions without how sure they are and why, which may be said better one day."""
    found = {
        **{name: msgspec.to_builtins(getattr(decisions, name).value) for name in DECIDED},
        "line_ends": {end: count for end, count in decisions.line_ends.items() if count},
        "tables": [[table.line, table.lines, table.columns] for table in decisions.tables],
        "data_starts": decisions.data_starts,
        "columns": {column.name: column.kind.value for column in decisions.columns},
    }
    return dict(json.loads(msgspec.json.encode(found)))


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_file_is_what_is_written_beside_it(file: Path) -> None:
    expected = json.loads(file.with_suffix(".json").read_text())
    decisions = decide(file, options_from(expected["options"]))
    assert told(decisions) == expected["decisions"]


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_each_decision_has_a_sentence_and_says_how_sure_it_is(file: Path) -> None:
    expected = json.loads(file.with_suffix(".json").read_text())
    decisions = decide(file, options_from(expected["options"]))
    found = [getattr(decisions, name) for name in decisions.__struct_fields__]
    for decision in [one for one in found if hasattr(one, "reason")] + [column.kind for column in decisions.columns]:
        assert decision.reason.endswith(".")
        assert decision.reason[0].isupper() or not decision.reason[0].isalpha()
        assert 0 <= decision.confidence <= 1
        assert all(0 < other.confidence <= 1 and other.value != decision.value for other in decision.alternatives)
    for name in expected["options"]:
        if name not in ("columns", "nulls"):
            assert getattr(decisions, name).overridden
            assert "options" in getattr(decisions, name).reason
