"""Expressions: what they give, what they refuse, and that none of them takes long or grows large."""

import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from processor.language.expressions import (
    FUNCTIONS,
    LARGEST_LIST,
    LARGEST_STRING,
    LONGEST_TEXT,
    Expression,
    ExpressionError,
    Template,
    condition,
)

SCOPE: dict[str, Any] = {
    "inputs": {"n": 5, "name": "Ada", "list": [3, 1, 2], "nested": [[1], [2, 3]], "none": None, "with space": 7},
    "steps": {
        "a": {"output": {"rows": 3, "columns": [{"name": "id"}]}, "status": "COMPLETED"},
        "import": {"output": 1},
    },
}


def value_of(text: str) -> Any:
    return Expression.parse(text).evaluate(SCOPE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inputs.n", 5),
        ('inputs["with space"]', 7),
        ("steps.a.output.columns[0].name", "id"),
        ("steps.a.output.columns[-1]['name']", "id"),
        ("steps.import.output + 1", 2),
        ("steps . import . output", 1),
        ("inputs.n > 3 and inputs.name == 'Ada'", True),
        ("inputs.n > 3 > 2", True),
        ("not inputs.none", True),
        ("inputs.none or 'nobody'", "nobody"),
        ("'yes' if inputs.n in inputs.list else 'no'", "no"),
        ("3 in inputs.list and 'd' in inputs.name and 'n' in inputs", True),
        ("1 + 2 * 3 - 4 / 2", 5.0),
        ("7 // 2 + 7 % 2", 4),
        ("[1, 2] + [3]", [1, 2, 3]),
        ("'a' + \"b\"", "ab"),
        ("{'a': {'b': [1]}}", {"a": {"b": [1]}}),
        ("true == 1", False),
        ("[1] == [true]", False),
        ("{'a': 1} == {'a': 1.0}", True),
        ("[1, [2]] != [1, [2]]", False),
        ("null == none_of_this", ExpressionError),
        ("default(inputs.nothing.at.all, inputs.none, 4)", 4),
        ("default(inputs.none)", None),
        ("len(inputs.list) + len('abc') + len(inputs.nested)", 8),
        ("max(inputs.list) - min(inputs.list)", 2),
        ("max(['a', 'b'])", "b"),
        ("sum(inputs.list)", 6),
        ("sum([0.1, 0.2, 0.3])", 0.6),
        ("sum([])", 0),
        ("join(inputs.list, '-')", "3-1-2"),
        ("join(['a', null, true])", "anulltrue"),
        ("flatten(inputs.nested)", [1, 2, 3]),
        ("range(3)", [0, 1, 2]),
        ("range(5, 1, -2)", [5, 3]),
        ("split('a,b', ',')", ["a", "b"]),
        ("replace('aXbX', 'X', '--')", "a--b--"),
        ("upper('ä') + lower('B') + trim('  c ')", "Äbc"),
        ("starts_with('abc', 'ab') and ends_with('abc', 'bc')", True),
        ("number('12') + number(' -1.5 ') + number('1e2') + number(1)", 111.5),
        ("text(5) + text(1.5) + text(null)", "51.5null"),
        ("round(2.567, 2) + round(2.4)", 4.57),
        ("abs(-3)", 3),
        ("'https://example.com/?q=' + quote('a b/ü?&=+%~')", "https://example.com/?q=a%20b%2F%C3%BC%3F%26%3D%2B%25~"),
        ("keys({'a': 1})", ["a"]),
        ("values({'a': 1})", [1]),
        ("'\\u00e4\\n\\''", "ä\n'"),
        ("inputs.n\n  > 3", True),
    ],
)
def test_an_expression_gives(text: str, value: Any) -> None:
    if value is ExpressionError:
        with pytest.raises(ExpressionError):
            value_of(text)
    else:
        assert value_of(text) == value
        assert type(value_of(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty"),
        ("  \n ", "empty"),
        ("inputs.", "syntax"),
        ("inputs.n = 3", "syntax"),
        ("a; b", "syntax"),
        ("1 2", "syntax"),
        ("f'{inputs}'", "syntax"),
        ("b'a'", "syntax"),
        ("r'a'", "syntax"),
        ("'\\x41'", "syntax"),
        ("'\\N{BULLET}'", "syntax"),
        ("'\\ud800'", "half_character"),
        ("'\\u0000'", "nul"),
        ("inputs.n # not this", "syntax"),
        ("ｉnputs.n", "syntax"),
        ("1_000", "syntax"),
        ("1j", "syntax"),
        ("0x10", "syntax"),
        ("007", "syntax"),
        ("1if 1else 2", "syntax"),
        ("(x := 1)", "syntax"),
        ("...", "not_allowed"),
        ("`a`", "syntax"),
        ("\x00", "syntax"),
        ("2 ** 3", "not_allowed"),
        ("lambda: 1", "not_allowed"),
        ("[x for x in inputs.list]", "not_allowed"),
        ("inputs.list[1:2]", "not_allowed"),
        ("inputs.list[1, 2]", "not_allowed"),
        ("(1, 2)", "not_allowed"),
        ("{1, 2}", "not_allowed"),
        ("{**inputs}", "not_allowed"),
        ("len(*inputs.list)", "not_allowed"),
        ("len(x=1)", "syntax"),
        ("inputs.name.upper()", "not_allowed"),
        ("+1", "not_allowed"),
        ("1 is 1", "not_allowed"),
        ("await inputs", "not_allowed"),
        ("yield", "syntax"),
        ("__import__('os')", "unknown_function"),
        ("lenn(inputs)", "unknown_function"),
        ("len()", "arguments"),
        ("len(1, 2)", "arguments"),
        ("default()", "arguments"),
        ("9007199254740993", "too_large"),
        ("1e999", "too_large"),
        ("9" * 1_999, "too_large"),
        ("1" * (LONGEST_TEXT + 1), "too_long"),
        ("+".join(["1"] * 300), "too_complex"),
        ("(" * 150 + "1" + ")" * 150 + "+1" * 100, "too_complex"),
        ("(" * 900 + ")" * 900, "too_complex"),
        ("-" * 1_999 + "1", "too_complex"),
        ("not " * 450 + "1", "too_complex"),
        ("lambda: " * 200 + "1", "too_complex"),
        ("[" * 60 + "]" * 60, "too_complex"),
        ("a" + ".b" * 900, "too_complex"),
    ],
)
def test_what_is_no_expression_is_refused_when_it_is_read(text: str, code: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        Expression.parse(text)
    assert refused.value.code in (code, "syntax" if code == "too_complex" else code), "Python's parser has limits, too"
    assert refused.value.detail.endswith((".", "?"))
    assert len(refused.value.detail) < 600


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("inputs.nothing", "missing"),
        ("inputs.list[3]", "missing"),
        ("inputs.none.x", "missing"),
        ("nowhere", "missing"),
        ("inputs.name.x", "type"),
        ("inputs.list['a']", "type"),
        ("inputs.list[true]", "type"),
        ("inputs[0]", "type"),
        ("inputs.n + 'a'", "type"),
        ("inputs.n + true", "type"),
        ("-'a'", "type"),
        ("'a' * 1000000", "type"),
        ("[1] * 1000000", "type"),
        ("'%s' % 1", "type"),
        ("1 < 'a'", "type"),
        ("[1] < [2]", "type"),
        ("null < 1", "type"),
        ("1 in 'a'", "type"),
        ("1 in 1", "type"),
        ("1 / 0", "division_by_zero"),
        ("1 // 0", "division_by_zero"),
        ("1 % 0", "division_by_zero"),
        ("9007199254740991 * 2", "too_large"),
        ("1e15 * 1e15", "too_large"),
        ("len(5)", "type"),
        ("len(null)", "type"),
        ("keys([])", "type"),
        ("values(null)", "type"),
        ("max([])", "empty_list"),
        ("min([])", "empty_list"),
        ("max([1, 'a'])", "type"),
        ("max([true, 1])", "type"),
        ("max([[1], [2]])", "type"),
        ("max('abc')", "type"),
        ("sum(['a'])", "type"),
        ("sum(5)", "type"),
        ("number('nan')", "type"),
        ("number('inf')", "type"),
        ("number('1e999')", "too_large"),
        ("number('1_0')", "type"),
        ("number('٣')", "type"),
        ("number('')", "type"),
        ("number(true)", "type"),
        ("number([])", "type"),
        ("number(join(range(10000)))", "type"),
        ("range(0, 5, 0)", "type"),
        ("range(1.5)", "type"),
        ("range('a')", "type"),
        ("range(100001)", "too_large"),
        ("range(0, 9007199254740992)", "too_large"),
        ("replace('abc', '', 'x')", "type"),
        ("split('abc', '')", "type"),
        ("split(5, ',')", "type"),
        ("round(5, -1)", "type"),
        ("round(5, -9007199254740991)", "type"),
        ("round(5, 9007199254740991)", "type"),
        ("round('a')", "type"),
        ("round(1, 1.5)", "type"),
        ("join([[1]])", "type"),
        ("join([1], 2)", "type"),
        ("join('abc')", "type"),
        ("flatten([1])", "type"),
        ("flatten('ab')", "type"),
        ("text([1])", "type"),
        ("text({})", "type"),
        ("upper(1)", "type"),
        ("quote(1)", "type"),
        ("starts_with('a', 1)", "type"),
        ("{inputs.list: 1}", "type"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_when_it_is_evaluated(text: str, code: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        value_of(text)
    assert refused.value.code == code
    assert refused.value.detail.endswith(".")


BIG: dict[str, Any] = {
    "text": "x" * LARGEST_STRING,
    "longer": "x" * (LARGEST_STRING + 1),
    "list": list(range(LARGEST_LIST)),
    "texts": ["x" * 100_000] * 200,
    "lists": [list(range(LARGEST_LIST))] * 250,
    "pairs": [[0] * 10 for _ in range(LARGEST_LIST)],
    "same": [[0] * 10 for _ in range(LARGEST_LIST)],
    "huge": 10**4_000,
    "escapes": '"\\' * 500_000,
    "nan": float("nan"),
    "infinite": float("inf"),
}
DEEP: Any = 1
OTHER_DEEP: Any = 1
for _ in range(20_000):
    DEEP, OTHER_DEEP = [DEEP], [OTHER_DEEP]


@pytest.mark.parametrize(
    "text",
    [
        "big.text + 'y'",
        "big.longer + ''",
        "join(big.texts)",
        "join(big.texts, big.text)",
        "join(range(100000), big.text)",
        "replace(big.text, 'x', 'xx')",
        "split(big.text, 'x')",
        "upper(big.longer)",
        "quote(big.text)",
        "flatten(big.lists)",
        "flatten([" + "big.list, " * 120 + "[]])",
        "big.list + big.list",
        "big.pairs == big.same",
        "[" + "big.pairs, " * 50 + "1] == [" + "big.same, " * 50 + "1]",
        "big.pairs[0] in [" + "big.same, " * 100 + "1]",
        "[0, 1] in big.pairs",
        f"[{', '.join(['sum(range(100000))'] * 45)}]",
        " and ".join(["len(range(100000)) == 100000"] * 30),
        "big.huge + 1",
        "big.huge * big.huge",
        "text(big.huge)",
        "-big.huge",
        "round(big.huge)",
        "sum([big.huge])",
        "range(big.huge)",
        "big.nan + 1",
        "sum([big.infinite])",
        "text(big.nan)",
        "abs(big.infinite)",
        "[" + "big.text, " * 120 + "1]",
        "[" + "big.lists, " * 120 + "1]",
    ],
)
def test_what_would_grow_or_take_long_is_refused_soon(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(ExpressionError) as refused:
        Expression.parse(text).evaluate({"big": BIG})
    assert refused.value.code in ("too_large", "too_much_work")
    assert time.process_time() - begun < 3


def test_values_that_are_nested_deep_are_compared_without_recursion() -> None:
    expression = Expression.parse("one == other")
    assert expression.evaluate({"one": DEEP, "other": OTHER_DEEP}) is True
    assert expression.evaluate({"one": DEEP, "other": [OTHER_DEEP]}) is False


def test_a_template_shares_one_allowance_among_its_expressions() -> None:
    template = Template.parse(["${{ sum(range(100000)) }}"] * 1_000)
    begun = time.process_time()
    with pytest.raises(ExpressionError, match="too long"):
        template.evaluate({})
    assert time.process_time() - begun < 3


@pytest.mark.parametrize(
    "template", [["${{ big.text }}"] * 1_000, "${{ big.text }}" * 1_000, {"a": ["${{ big }}"] * 9}]
)
def test_what_is_named_often_in_few_characters_is_not_written_out(template: Any) -> None:
    with pytest.raises(ExpressionError) as refused:
        Template.parse(template).evaluate({"big": BIG})
    assert refused.value.code == "too_large"


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("plain", "plain"),
        ("${{ inputs.list }}", [3, 1, 2]),
        ("${{inputs.n}}", 5),
        (" ${{ inputs.n }}", " 5"),
        ("${{ inputs.n }}${{ inputs.name }}!", "5Ada!"),
        ("${{ '}}' }}", "}}"),
        ('${{ "it\'s }}" }}', "it's }}"),
        ("${{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ("${{ {'a': {'b': 1}}}}", {"a": {"b": 1}}),
        ("${{ '${{' }} and ${{ '\\'}}' }}", "${{ and '}}"),
        ("$ {{ }} }}", "$ {{ }} }}"),
        ({"a": ["${{ inputs.n }}", {"b": "${{ true }}"}], "${{ k }}": 1}, {"a": [5, {"b": True}], "${{ k }}": 1}),
    ],
)
def test_a_template_is_filled(template: Any, value: Any) -> None:
    assert Template.parse(template).evaluate(SCOPE) == value


@pytest.mark.parametrize(
    "text", ["${{ inputs.n", "${{ inputs.n }", "${{", "${{ '}} ", "${{ {'a': 1 }}", "${{}}", "${{ }}"]
)
def test_a_template_that_is_not_closed_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        Template.parse(text)


@pytest.mark.parametrize(
    "hostile",
    ["${{ " + '\\"' * 500_000, "${{ " + "'" * 999_999, "${{ a }}" + "${{ {" * 120_000, '${{ "' + "\\" * 900_000],
)
def test_looking_for_the_end_of_an_expression_takes_no_time(hostile: str) -> None:
    begun = time.process_time()
    with pytest.raises(ExpressionError):
        Template.parse(hostile)
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("text", ["inputs.n > 3", "${{ inputs.n > 3 }}", "  ${{inputs.n > 3}}\n"])
def test_a_condition_may_leave_out_the_marks(text: str) -> None:
    assert condition(text).text == "inputs.n > 3"


@pytest.mark.parametrize("text", ["${{ a }} and ${{ b }}", "not ${{ a }}", "", "${{ }}"])
def test_a_condition_is_one_expression(text: str) -> None:
    with pytest.raises(ExpressionError):
        condition(text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("steps.a.output.rows > inputs.limit", {("steps", "a", "output", "rows"), ("inputs", "limit")}),
        ('steps["a-b"].output', {("steps", "a-b", "output")}),
        ("steps.a.output.files[0].name", {("steps", "a", "output", "files")}),
        ("steps.a.output.files[index].name", {("steps", "a", "output", "files"), ("index",)}),
        ("steps[inputs.which].output", {("steps",), ("inputs", "which")}),
        ("default(inputs.a, null) if true else false", {("inputs", "a")}),
        ("1 + 2", set()),
    ],
)
def test_what_an_expression_reads_is_known_before(text: str, read: set[tuple[str, ...]]) -> None:
    assert Expression.parse(text).references == read


@pytest.mark.parametrize(
    ("text", "path"), [("a.b[0].c", ("a", "b", 0, "c")), ("a.b + 1", None), ("true", None), ("a[b]", None)]
)
def test_an_expression_that_is_a_plain_path_says_so(text: str, path: tuple[str | int, ...] | None) -> None:
    assert Expression.parse(text).path == path


PIECES = st.sampled_from(
    [*FUNCTIONS, *"()[]{}.,:+-*/%<>='\"\\ \n", "==", "and ", "or ", "not ", "in ", " if ", " else ", "inputs", "steps",
     "n", "list", "1", "0", "2.5", "1e9", "true", "null", "'a'", "**", "lambda ", "//", "range(9)", "é", "\0"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=60))
@example("{" * 30)
def test_whatever_is_written_is_an_expression_or_refused(text: str) -> None:
    for parse in (Expression.parse, Template.parse, condition):
        with suppress(ExpressionError):
            parse(text).evaluate(SCOPE)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(VALUES, min_size=1, max_size=3))
def test_a_function_takes_whatever_it_is_given(name: str, values: list[Any]) -> None:
    arguments = ", ".join(f"given[{number}]" for number in range(len(values)))
    with suppress(ExpressionError):
        Expression.parse(f"{name}({arguments})").evaluate({"given": values})


@given(
    st.sampled_from(["+", "-", "*", "/", "//", "%", "==", "!=", "<", ">=", "in", "not in", "and", "or"]), VALUES, VALUES
)
def test_an_operator_takes_whatever_it_is_given(operator: str, left: Any, right: Any) -> None:
    with suppress(ExpressionError):
        Expression.parse(f"left {operator} right").evaluate({"left": left, "right": right})
