"""The page of a report: whole, accessible and quiet, whatever the cells hold."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from fixtures.finished_cleans import cleaned
from fixtures.order_files import HOSTILE, RULES, orders
from processor.cleaning.report.cells import cell, plain
from processor.cleaning.report.facts import Clean, facts_of
from processor.cleaning.report.markup import Markup, element, style
from processor.cleaning.report.page import page_of
from processor.cleaning.report.tables import open_tables
from processor.cleaning.room import Room

_VOID = {"meta", "br", "col", "rect", "path", "line"}
_CSS = Path(__file__).parents[2] / "services/processor/src/processor/cleaning/report/page.css"


@dataclass
class _Element:
    tag: str
    attributes: dict[str, str | None]
    text: str = ""
    within: tuple[str, ...] = ()


@dataclass
class _Page(HTMLParser):
    """All elements of a page, and whether each that was begun was ended."""

    elements: list[_Element] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[_Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = _Element(tag, dict(attrs), within=tuple(one.tag for one in self._open))
        assert len(found.attributes) == len(attrs)
        self.elements.append(found)
        if tag not in _VOID:
            self._open.append(found)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for one in self._open:
            one.text += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def all(self, tag: str) -> list[_Element]:
        return [one for one in self.elements if one.tag == tag]


def _parsed(html: str) -> _Page:
    page = _Page()
    page.feed(html)
    page.close()
    assert not page._open
    return page


def _html(clean: Clean, tmp_path: Path) -> str:
    with open_tables(clean.files, Room(360, 1, str(tmp_path)), lambda: None) as tables:
        return page_of(facts_of(clean, tables))


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    return _html(cleaned(folder / "clean", orders(600, 11), RULES, filename="</title>orders\u202e.csv"), folder)


def test_the_page_asks_nobody_for_anything_and_runs_nothing(html: str) -> None:
    page = _parsed(html)
    assert {one.tag for one in page.elements}.isdisjoint(
        {"script", "link", "img", "iframe", "object", "embed", "base", "form", "image", "use", "a href"}
    )
    for one in page.elements:
        for name, value in one.attributes.items():
            assert not name.startswith("on")
            assert name not in ("src", "srcset", "style", "xmlns", "action")
            assert name != "href" or (value or "").startswith("#")
    css = page.all("style")[0].text
    assert not re.search(r"url\(|@import|//|expression", css)
    policy = next(one for one in page.all("meta") if one.attributes.get("http-equiv") == "Content-Security-Policy")
    assert (policy.attributes["content"] or "").startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert page.comments == []


def test_what_cells_hold_is_shown_and_never_obeyed(html: str) -> None:
    page = _parsed(html)
    body = page.all("body")[0].text
    assert "</script><script>alert(1)</script>" in body
    assert '"><img src=x onerror=alert(1)>' in body
    assert "[U+202E]evil" in body
    assert "a\u2407b[U+200B]c" in body
    assert "&amp;lt" in html
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x00-\x08\x0b-\x1f]", html)
    assert page.all("title")[0].text == "Cleaning report: </title>orders[U+202E].csv"


def test_the_equation_is_on_the_page(html: str) -> None:
    page = _parsed(html)
    (equation,) = (one for one in page.all("p") if one.attributes.get("class") == "equation")
    records, out, rejected, duplicates = (int(one.replace(",", "")) for one in re.findall(r"[\d,]+", equation.text))
    assert records == out + rejected + duplicates
    assert "The sum holds." in page.all("header")[0].text


def test_the_page_can_be_found_through_without_seeing_it(html: str) -> None:
    page = _parsed(html)
    ids = [one.attributes["id"] for one in page.elements if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    levels = [int(one.tag[1]) for one in page.elements if re.fullmatch("h[1-6]", one.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(low + 1 >= high for low, high in pairwise(levels))
    assert [len(page.all(tag)) for tag in ("header", "nav", "main", "footer")] == [1, 1, 1, 1]
    assert page.all("html")[0].attributes["lang"] == "en"
    for one in page.elements:
        for name in (one.attributes.get("aria-labelledby") or "").split():
            assert name in ids
        if (one.attributes.get("href") or "").startswith("#"):
            assert (one.attributes["href"] or "")[1:] in ids
    regions = [one.attributes["aria-label"] for one in page.elements if one.attributes.get("role") == "region"]
    assert len(regions) == len(set(regions))


def test_each_table_says_what_it_is_and_each_plot_has_its_numbers(html: str) -> None:
    page = _parsed(html)
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(one.attributes.get("scope") in ("row", "col") for one in page.all("th"))
    plots = [one for one in page.all("svg") if one.attributes.get("role") == "img"]
    assert len(plots) >= 6
    assert len([one for one in page.all("title") if "svg" in one.within]) == len(plots)
    assert len([one for one in page.all("desc") if one.text]) == len(plots)
    assert all(one.attributes.get("aria-hidden") == "true" for one in page.all("svg") if one not in plots)
    # All but the bar of the rows, whose numbers are the equation.
    assert len(page.all("details")) == len(plots) - 1


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_colours_have_contrast_in_both_schemes_and_on_paper(scheme: str) -> None:
    css = _CSS.read_text()
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", blocks[("light", "dark", "print").index(scheme)]))
    for ground in ("page", "paper", "wash"):
        for ink in ("ink", "soft", "after", "bad", "twice", "mark"):
            if (ground, ink) not in (("wash", "mark"), ("wash", "twice")):  # which are never there
                assert _contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for shape in ("before", "after", "bad", "twice", *(f"r{at}" for at in range(7))):
        assert _contrast(colours[shape], colours["paper"]) >= 3, shape


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_an_ordinary_page_is_under_a_megabyte(tmp_path: Path, html: str) -> None:
    assert len(html.encode()) < 300_000
    names = ",".join(f"a column with a longer name {at}" for at in range(60))
    rows = (",".join(f"{'<&>' * 60}{(at * row) % 50}" for at in range(60)) for row in range(150))
    page = _html(cleaned(tmp_path / "clean", "\n".join((names, *rows, "")).encode()), tmp_path)
    assert len(page.encode()) < 1_000_000
    assert "Of 60 columns, the 40 to which most was done are shown" in page
    _parsed(page)


@pytest.mark.parametrize("content", ["a,b\n", "only\n1\n2\n", "a,b\n,\n" * 4, '<b>,"</table>"\n1,2\n'])
def test_tables_at_the_edge_have_pages(tmp_path: Path, content: str) -> None:
    clean = cleaned(tmp_path / "clean", content.encode(), reading={"header": True}, filename=None)
    page = _parsed(_html(clean, tmp_path))
    assert page.all("h1")[0].text == "A file without a name"
    assert {"b", "script"} & {one.tag for one in page.elements} <= {"b"}
    assert all("term" in one.within or "p" in one.within for one in page.all("b"))


@pytest.mark.parametrize(
    "text", [*HOSTILE, "\0", "\x7f\x85", "\ud800", "\ufffe\ufdd0", "\u2028", "\xa0x", "  ", "x" * 10_000]
)
def test_nothing_of_a_cell_is_hidden_or_without_end(text: str) -> None:
    shown = cell(text)
    page = _parsed(shown)
    assert {one.tag for one in page.elements} <= {"bdi", "span"}
    assert not re.search(
        "[\x00-\x1f\x7f-\xa0\u200b-\u200f\u2028-\u202e\ud800-\udfff\ufdd0\ufffe]", page.elements[0].text
    )
    assert len(page.elements[0].text) < 1_500
    assert shown.encode()
    assert plain(text) == page.elements[0].text


def test_text_becomes_markup_nowhere_by_itself() -> None:
    assert element("p", "<b>", element("i", "&"), class_='"x') == '<p class="&quot;x">&lt;b&gt;<i>&amp;</i></p>'
    assert isinstance(element("p"), Markup)
    with pytest.raises(ValueError, match="cannot end"):
        style("</style>")
