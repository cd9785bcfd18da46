"""A page of the log is read once for all who want it, and nobody misses anything for that."""

import asyncio

import pytest

from fixtures.cohorts import PLAIN, SILENT, A, Shelf, World, place
from notifier import pages
from notifier.cohort import Room
from notifier.history import PAGE
from notifier.pages import Pages


async def test_what_many_read_at_the_same_place_is_read_once() -> None:
    world = World()
    world.log.append("job:a", times=2 * PAGE + 10)
    world.log.let_go.clear()
    clients = [world.client() for _ in range(50)]
    for number, client in enumerate(clients):
        client.session.follow(A, number % 2, PLAIN)  # they meet at the end of their first page
    world.log.let_go.set()
    for number, client in enumerate(clients):
        versions = range(1 + number % 2, 2 * PAGE + 11)
        assert await client.has(len(versions)) == place("job:a", *versions)
    assert world.log.pages <= 2 + 3  # the last one may have been read before somebody came to it


async def test_whoever_joins_while_a_page_is_read_for_others_misses_nothing_that_is_told_meanwhile() -> None:
    world = World()
    world.log.append("job:a")
    first = world.client()
    world.log.let_go.clear()
    first.session.follow(A, 0, PLAIN)
    await world.until(lambda: world.log.pages == 1)
    world.log.append("job:a")
    await world.tell()  # to nobody who is live
    second = world.client()
    second.session.follow(A, 0, PLAIN)  # waits for the page that has not got the second event
    world.log.let_go.set()
    for client in (first, second):
        assert await client.has(2) == place("job:a", 1, 2)


async def test_whoever_leaves_while_it_reads_for_others_takes_nothing_from_them() -> None:
    world = World()
    world.log.append("job:a")
    leaving, staying = world.client(), world.client()
    world.log.let_go.clear()
    for client in (leaving, staying):
        client.session.follow(A, 0, PLAIN)
    await world.until(lambda: world.log.pages == 1)
    leaving.session.close()
    world.log.let_go.set()
    assert await staying.has(1) == place("job:a", 1)
    assert leaving.told == []


async def test_a_page_that_two_rooms_have_read_at_once_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel that everybody has left has another room when the next one comes, while the page for the first is still
    being read. Counted twice, each such page took for ever from what may be kept."""
    shelf = Shelf()
    shelf.append("job:a", times=3 * PAGE)
    kept = Pages(shelf)
    (data, _), *_ = (await Pages(shelf).page(Room(A, 1), PLAIN, PAGE, conflate=False)).runs
    monkeypatch.setattr(pages, "_KEPT_BYTES", 5 * (len(data) + pages._PAGE_BYTES) // 2)
    await asyncio.gather(*(kept.page(Room(A, 1), PLAIN, 0, conflate=False) for _ in range(2)))
    await kept.page(Room(A, 1), PLAIN, PAGE, conflate=False)
    before = shelf.pages
    for after in (0, PAGE):
        await kept.page(Room(A, 1), PLAIN, after, conflate=False)
    assert shelf.pages == before


async def test_pages_without_a_word_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """They counted as nothing, so that all of them were kept: of a long log, and for each form that has no words."""
    monkeypatch.setattr(pages, "_KEPT_BYTES", 2 * pages._PAGE_BYTES)
    shelf = Shelf()
    shelf.append("job:a", SILENT, times=4 * PAGE)
    kept = Pages(shelf)

    async def reads(after: int) -> int:
        before = shelf.pages
        await kept.page(Room(A, 1), PLAIN, after, conflate=False)
        return shelf.pages - before

    assert [await reads(after) for after in (0, PAGE, 2 * PAGE)] == [1, 1, 1]
    assert [await reads(after) for after in (PAGE, 2 * PAGE)] == [0, 0]
    assert await reads(0) == 1
