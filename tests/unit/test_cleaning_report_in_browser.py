"""The page of a report in a real browser: in both schemes, on paper, on a phone, and for who does not see it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from fixtures.chromium import Tab
from fixtures.finished_cleans import cleaned
from fixtures.order_files import RULES, orders
from processor.cleaning.report.making import make_report
from processor.cleaning.room import Room

pytestmark = pytest.mark.timeout(600)  # the first time, Node and Chromium are fetched


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    clean = cleaned(folder / "clean", orders(600, 12), RULES, filename="orders.csv")
    make_report(clean, Room(360, 1, str(folder)), lambda share, message: None)
    return clean.files / "report.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_is_accessible_and_asks_for_nothing(chromium: Tab, page: Path, scheme: str) -> None:
    await chromium.open(page, scheme=scheme)
    assert chromium.requests == [page.as_uri()]
    assert chromium.complaints == []
    assert await chromium.violations() == []
    dark = await chromium.tell("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(19, 20, 22)") == (scheme == "dark")


async def test_each_plot_has_a_name_and_a_description_in_the_accessibility_tree(chromium: Tab, page: Path) -> None:
    await chromium.open(page, scheme="light")
    nodes = (await chromium.call("Accessibility.getFullAXTree"))["nodes"]
    images = [node for node in nodes if node.get("role", {}).get("value") in ("image", "img")]
    assert len(images) >= 6
    assert all("From" in name or "Of" in name or "parts" in name for name in map(_name, images))
    landmarks = [node["role"]["value"] for node in nodes if node.get("role", {}).get("value") in _LANDMARKS]
    assert sorted(set(landmarks)) == sorted(_LANDMARKS)


_LANDMARKS = ("banner", "navigation", "main", "contentinfo")


def _name(node: dict[str, dict[str, str]]) -> str:
    return node["name"]["value"]


@pytest.mark.parametrize("width", [360, 768, 1200])
async def test_the_page_fits_any_width(chromium: Tab, page: Path, width: int) -> None:
    await chromium.open(page, scheme="light", width=width)
    assert await chromium.tell("document.documentElement.scrollWidth") == width


async def test_the_page_fits_on_paper_in_light_colours(chromium: Tab, page: Path) -> None:
    await chromium.open(page, scheme="dark", media="print", width=700)
    assert await chromium.tell("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    wide = "[...document.querySelectorAll('table, svg, p')].filter(e => e.getBoundingClientRect().right > 701)"
    assert await chromium.tell(f"{wide}.map(e => e.outerHTML.slice(0, 300))") == []
    assert await chromium.tell("getComputedStyle(document.querySelector('details')).display") == "none"
    printed = await chromium.printed()
    assert printed.startswith(b"%PDF-")
    assert 4 <= printed.count(b"/Type /Page\n") <= 24


async def test_keys_reach_the_content_first_and_then_the_contents(chromium: Tab, page: Path) -> None:
    """The first key press goes to a link over the contents; those that follow go through what scrolls and opens."""
    await chromium.open(page, scheme="light")
    reached: Sequence[str] = [await _tab(chromium) for _ in range(4)]
    assert reached[:2] == ["To the content", "The file"]


async def _tab(chromium: Tab) -> str:
    for kind in ("keyDown", "keyUp"):
        await chromium.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    told: str = await chromium.tell("document.activeElement.textContent")
    return told
