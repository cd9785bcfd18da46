"""Pages that will never change are kept for whoever comes next, within what they may take."""

import asyncio

import pytest

from fixtures.cohorts import PLAIN, A, Shelf
from notifier import pages
from notifier.cohort import Room
from notifier.history import PAGE
from notifier.pages import Pages


async def test_a_page_that_two_rooms_have_read_at_once_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel that everybody has left has another room when the next one comes, while the page for the first is still
    being read. Counted twice, each such page took for ever from what may be kept."""
    shelf = Shelf()
    shelf.append("job:a", times=3 * PAGE)
    kept = Pages(shelf)
    (data, _), *_ = (await Pages(shelf).page(Room(A), PLAIN, PAGE, conflate=False)).runs
    monkeypatch.setattr(pages, "_KEPT_BYTES", 5 * len(data) // 2)
    await asyncio.gather(*(kept.page(Room(A), PLAIN, 0, conflate=False) for _ in range(2)))
    await kept.page(Room(A), PLAIN, PAGE, conflate=False)
    before = shelf.pages
    for after in (0, PAGE):
        await kept.page(Room(A), PLAIN, after, conflate=False)
    assert shelf.pages == before
