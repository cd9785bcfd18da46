"""What is proposed for a file: nothing that is not sure, each rule with exactly what it would do.

Each seed makes a dirty table of known truth: columns of many kinds, with the mistakes that people make in them, beside
columns that look like something and are not."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from random import Random

import pytest

from fixtures.suggested import check_counts, rules_of, suggested, written
from processor.cleaning.clean import clean_file
from processor.cleaning.options import clean_options
from processor.cleaning.room import Room
from processor.cleaning.suggest_step import suggest_step
from processor.inputs.opening import Input
from processor.step import StepStopped, Task

_ROWS = 400
_DAY_ONE = date(1990, 1, 1)
Cell = tuple[str, str | None]  # as it stands in the file, and what it is once it is clean
Make = Callable[[Random, int], Cell]


def _spaced(random: Random, text: str) -> str:
    return f"{' ' * random.choice([0, 0, 0, 0, 2])}{text}{random.choice(['', '', '', '', chr(9), chr(160)])}"


def _integer(random: Random, row: int) -> Cell:
    number = str(random.randint(-5000, 5000))
    return random.choice([(number, number)] * 20 + [("n/a", None), ("", None), (f" {number}", number)])


def _comma(random: Random, row: int) -> Cell:
    number = random.randint(100, 99_999_999)
    grouped = f"{number // 100:,}".replace(",", ".") + f",{number % 100:02}"
    return grouped, f"{number // 100}.{number % 100:02}"


def _day(random: Random, row: int) -> Cell:
    day = _DAY_ONE + timedelta(random.randint(0, 9000))
    return _spaced(random, day.strftime("%d/%m/%Y")), day.isoformat()


def _yes(random: Random, row: int) -> Cell:
    return random.choice([("ja", "true"), ("Ja", "true"), ("nein", "false"), ("nein ", "false")])


def _city(random: Random, row: int) -> Cell:
    city = random.choice(["Hamburg", "Lisbon", "New York"])
    return (city if random.random() > 0.03 else random.choice([city.upper(), city.lower(), city + " "])), city


def _email(random: Random, row: int) -> Cell:
    return f"someone.{row}@{random.choice(['Example.ORG', 'example.com'])}", None


def _phone(random: Random, row: int) -> Cell:
    digits = str(random.randint(1_000_000, 9_999_999))
    return f"+49 (0)30 {digits[:3]}-{digits[3:]}", f"+4930{digits}"


def _kilos(random: Random, row: int) -> Cell:
    grams = random.randint(1, 99) * 100
    return (f"{grams} g", str(grams / 1000)) if row % 5 == 0 else (f"{grams / 1000} kg", str(grams / 1000))


# What looks like something, and must stay as it is.
def _code(random: Random, row: int) -> Cell:
    code = f"{random.randint(0, 99_999):05}"
    return code, code


def _ambiguous_day(random: Random, row: int) -> Cell:
    text = f"{random.randint(1, 12):02}/{random.randint(1, 12):02}/{random.randint(1990, 2020)}"
    return text, text


def _state(random: Random, row: int) -> Cell:
    state = random.choice(["CA", "AL", "DE", "IN", "GA"])
    return state, state


def _mixed_money(random: Random, row: int) -> Cell:
    text = f"{random.choice('€$')}{random.randint(1, 99)}.50"
    return text, text


def _name(random: Random, row: int) -> Cell:
    name = random.choice(["Maria", "Mario", "Anna", "Anne", "Carlo", "Carla"]) + f" {random.randint(1, 9999)}"
    return name, name


MAKERS: dict[str, Make] = {
    "integer": _integer,
    "comma": _comma,
    "day": _day,
    "yes": _yes,
    "city": _city,
    "email": _email,
    "phone": _phone,
    "kilos": _kilos,
}
TRAPS: dict[str, Make] = {
    "code": _code,
    "ambiguous_day": _ambiguous_day,
    "state": _state,
    "mixed_money": _mixed_money,
    "name": _name,
}


@pytest.mark.parametrize("seed", range(5))
def test_the_recipe_does_exactly_what_was_said_and_finds_the_truth(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    names = ["id", *random.sample([*MAKERS], 4), *random.sample([*TRAPS], 3)]
    makers = {**MAKERS, **TRAPS}
    table: list[list[Cell]] = [
        [(str(row), str(row)), *(makers[name](random, row) for name in names[1:])] for row in range(1, _ROWS + 1)
    ]
    for _ in range(random.randint(0, 3)):  # rows that somebody has sent twice
        table.insert(random.randrange(len(table)), random.choice(table))
    rows = [[text for text, _ in row] for row in table]
    broken = random.randint(0, 2)
    for at in random.sample(range(_ROWS), broken):
        for column, name in enumerate(names):
            if name in ("integer", "comma", "day"):
                rows[at][column] = "broken"
    found = suggested(tmp_path, written(names, rows))

    done = check_counts(found, names, rows)
    assert found["rows"]["rejected"] <= 0.01 * len(rows)
    truth = {row[0][1]: dict(zip(names, (clean for _, clean in row), strict=True)) for row in table}
    for row in done.cleaned:
        expected = truth[row["id"]]
        for name in names:
            clean = (row[name] or "").lower() if name in ("yes",) else row[name]
            if name != "email":
                assert (clean or None) == expected[name], (name, row)
    for trap in set(names) & set(TRAPS):
        assert rules_of(found, trap) == [], trap
    assert ("ambiguous_day" in names) == any("ambiguous_day" in one["columns"] for one in found["questions"])


def _table(cells: list[str]) -> bytes:
    return written(["id", "cell"], [[str(at), cell] for at, cell in enumerate(cells)])


def _days(order: str, count: int = 300) -> list[str]:
    return [(date(2021, 1 + at % 12, 1 + at % 12).replace(day=1 + at % 9)).strftime(order) for at in range(count)]


def test_an_order_of_day_and_month_that_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    found = suggested(tmp_path, _table(_days("%d/%m/%Y")))
    assert rules_of(found, "cell") == []
    (question,) = found["questions"]
    assert question["columns"] == ["cell"]
    assert question["asks"].startswith("No number is larger than 12 in any row")
    assert [choice["rule"]["formats"] for choice in question["choices"]] == [["%d/%m/%Y"], ["%m/%d/%Y"]]
    assert [choice["says"] for choice in question["choices"]] == ["The day comes first.", "The month comes first."]


def test_one_row_far_behind_what_is_looked_at_first_tells_the_order(tmp_path: Path) -> None:
    cells = _days("%m/%d/%Y", 25_000)
    cells[19_001] = "02/28/2021"
    found = suggested(tmp_path, _table(cells), sample=100)
    assert found["questions"] == []
    (rule,) = [rule for rule in found["recipe"]["rules"] if rule["rule"] == "date"]
    assert rule["formats"] == ["%m/%d/%Y"]
    assert "In 1 value the second number is larger than 12" in rule["why"]


def test_dates_in_both_orders_are_asked_for(tmp_path: Path) -> None:
    found = suggested(tmp_path, _table([*_days("%d/%m/%Y"), *["28/02/2021"] * 20, "02/28/2021"]))
    assert rules_of(found, "cell") == []
    assert "In 20 values the first number is larger than 12, in 1 the second is" in found["questions"][0]["asks"]


def test_a_mark_before_three_digits_is_asked_for_if_no_row_tells_what_it_means(tmp_path: Path) -> None:
    cells = [f"{1 + at % 9},{at % 1000:03}" for at in range(300)]
    found = suggested(tmp_path, _table(cells))
    assert rules_of(found, "cell") == []
    assert [choice["rule"]["rule"] for choice in found["questions"][0]["choices"]] == ["integer", "decimal"]
    sure = suggested(tmp_path, _table([*cells, "1,234,567"]))
    assert rules_of(sure, "cell") == ["integer"]
    assert sure["questions"] == []


def test_a_type_that_would_cost_too_many_rows_is_not_proposed_and_that_is_said(tmp_path: Path) -> None:
    cells = [str(at) if at % 20 else "about ten" for at in range(1_000)]
    found = suggested(tmp_path, _table(cells))
    assert rules_of(found, "cell") == []
    assert any("cell is left as it is: the rule integer would reject 50 rows for it" in note for note in found["notes"])
    assert found["rows"]["rejected"] == 0
    allowed = suggested(tmp_path, _table(cells), most_rejects=0.1)
    assert rules_of(allowed, "cell") == ["integer"]
    assert allowed["rows"]["rejected"] == 50


def test_rows_that_are_there_again_go_only_if_a_key_says_that_they_are_the_same(tmp_path: Path) -> None:
    rows = [[str(at % 7), f"reading {at % 5}"] for at in range(200)]
    found = suggested(tmp_path, written(["sensor", "what"], rows))
    assert "deduplicate" not in [rule["rule"] for rule in found["recipe"]["rules"]]
    assert "165 rows say the same as others" in found["questions"][-1]["asks"]


def test_a_rare_value_is_mended_only_if_it_is_surely_a_slip(tmp_path: Path) -> None:
    cells = [*["Stockholm", "Barcelona", "Copenhagen"] * 100, "Stockhlom", "Barccelona", "Copenhegen"]
    found = suggested(tmp_path, _table(cells))
    (rule,) = [rule for rule in found["recipe"]["rules"] if rule["rule"] == "map"]
    assert rule["values"] == {"Stockhlom": "Stockholm", "Barccelona": "Barcelona"}
    (question,) = found["questions"]
    assert question["choices"][0]["rule"]["values"] == {"Copenhegen": "Copenhagen"}


def test_texts_of_several_lines_keep_them(tmp_path: Path) -> None:
    rows = [[str(at), f"Street {at}\nTown  {at}", f"two  words {at}"] for at in range(50)]
    found = suggested(tmp_path, written(["id", "address", "title"], rows))
    assert rules_of(found, "address") == []
    assert rules_of(found, "title") == ["inner_space"]
    assert found["notes"] == ["There are texts of several lines, and the white space within stays as it is: address."]


def test_what_nearly_holds_is_found_and_left(tmp_path: Path) -> None:
    towns = ["Berlin", "Paris", "Rome", "Oslo", "Lima", "Cairo", "Delhi", "Quito"]
    rows = [[str(at), f"P{at % 16:03}", towns[at % 16 // 2]] for at in range(2_000)]
    rows[700][2] = "Oslo"
    found = suggested(tmp_path, written(["id", "postcode", "town"], rows))
    (rule,) = [rule for rule in found["rules"] if rule["name"] == "dependency"]
    assert (rule["findings"], rule["cells"], rule["rejects"]) == (1, 0, 0)
    assert rule["why"].startswith("Nearly each postcode has one town.")
    check_counts(found, ["id", "postcode", "town"], rows)


@pytest.mark.parametrize("content", [b"a,b\n", b"a,b\n1,2\n", b"a\n1\n2\n"], ids=["no row", "one row", "one column"])
def test_small_files_have_a_recipe_too(tmp_path: Path, content: bytes) -> None:
    found = suggested(tmp_path, content)
    assert found["rows"]["out"] == found["rows"]["in"] == content.count(b"\n") - 1


def test_a_clean_with_the_recipe_gives_the_counts_that_were_said(tmp_path: Path) -> None:
    """With records that are no rows, rows that a rule rejects, and duplicates that were changed before they went."""
    random = Random(0)
    rows = [[str(row), f" {_day(random, row)[0]}", _city(random, row)[0], str(row % 50)] for row in range(1, 1_201)]
    rows[200][3], rows[300][3] = "many", "few"
    rows.insert(700, [rows[5][0], rows[5][1].strip(), rows[5][2], rows[5][3]])
    content = written(["id", "day", "city", "count"], rows) + b"1201,,\n"
    found = suggested(tmp_path, content)
    assert found["rows"] == {"in": 1_202, "out": 1_198, "rejected": 3, "duplicates": 1}

    source, folder, scratch = tmp_path / "file", tmp_path / "made", tmp_path / "room"
    folder.mkdir()
    scratch.mkdir()
    source.write_bytes(content)
    options = clean_options({"recipe": found["recipe"]})
    done = clean_file(
        Input(source, source.stat().st_size, (), None),
        options,
        folder,
        Room(256, 1, str(scratch)),
        lambda _share, _said: None,
        {},
    )
    assert (done["rows"], done["rejects"]) == (found["rows"], found["rejects"])
    said = {(rule["rule"], name): cells for rule in found["rules"] for name, cells in rule["by_column"].items()}
    assert {(one["rule"], one["column"]): one["cells"] for one in done["changes"]} == said
    assert done["findings"] == sum(rule["findings"] for rule in found["rules"])


def test_columns_that_no_recipe_can_name_are_left_as_they_are(tmp_path: Path) -> None:
    found = suggested(tmp_path, written(["id", "n" * 1_001], [[str(at), " x "] for at in range(30)]))
    assert found["changed_cells"] == 0
    assert found["notes"] == ["Of 2 columns, 1 were looked at."]


def test_of_rows_that_are_nearly_all_the_same_nothing_is_a_key(tmp_path: Path) -> None:
    found = suggested(tmp_path, written(["id", "what"], [[str(at % 3), "same"] for at in range(60)]))
    assert [rule["rule"] for rule in found["recipe"]["rules"]] == ["integer"]
    assert "57 rows say the same as others" in found["questions"][0]["asks"]


@pytest.mark.parametrize("when", [0.01, 0.3, 0.5, 0.85])
def test_who_does_not_want_it_any_more_ends_it(tmp_path: Path, when: float) -> None:
    def report(share: float, _message: str | None) -> None:
        if share >= when:
            raise StepStopped

    (tmp_path / "input").write_bytes(_table([f" {at}" for at in range(500)]))
    with pytest.raises(StepStopped):
        suggest_step(Task("csv-suggest", str(tmp_path / "input"), {}, str(tmp_path), 256, 2), report)


def test_records_that_are_no_rows_are_counted_and_touched_by_no_rule(tmp_path: Path) -> None:
    found = suggested(tmp_path, b"id,name\n1,Ann\n2\n3,Bob \n" * 1)
    assert found["rejects"] == {"too_few_fields": 1}
    assert found["rows"] == {"in": 3, "out": 2, "rejected": 1, "duplicates": 0}
