"""An option that a step does not know is refused, by each in the same words, with those that there are."""

from pathlib import Path

import pytest

from processor.cleaning.preview_step import preview_step
from processor.cleaning.profile import profile
from processor.cleaning.steps import csv_survey
from processor.cleaning.suggest_step import suggest_step
from processor.step import Step, StepError, Task


@pytest.mark.parametrize(
    ("step", "known"),
    [
        (profile, "entry"),
        (suggest_step, "entry, most_rejects, reading, sample"),
        (preview_step, "entry, reading, recipe, rows, spread, tables"),
        (csv_survey, "entry, reading, recipe, tables"),
    ],
    ids=["profile", "suggest", "preview", "clean"],
)
def test_an_option_that_is_not_known_is_refused_with_those_that_are(tmp_path: Path, step: Step, known: str) -> None:
    task = Task("a step", str(tmp_path / "input"), {"delimeter": ";"}, str(tmp_path), 256, 2)
    with pytest.raises(StepError) as wrong:
        step(task, lambda _share, _message: None)
    assert wrong.value.code == "invalid_option"
    assert wrong.value.detail == f"There is no option `delimeter`. There are: {known}."
    assert [problem.place for problem in wrong.value.problems] == ["delimeter"]


@pytest.mark.parametrize("step", [suggest_step, preview_step, csv_survey], ids=["suggest", "preview", "clean"])
def test_what_is_not_known_of_reading_is_refused_too(tmp_path: Path, step: Step) -> None:
    options = {"reading": {"delimeter": ";"}} | ({} if step is suggest_step else {"recipe": {"version": 1}})
    task = Task("a step", str(tmp_path / "input"), options, str(tmp_path), 256, 2)
    with pytest.raises(StepError, match=r"There is no option `delimeter`\. There are: columns, delimiter, encoding, "):
        step(task, lambda _share, _message: None)
