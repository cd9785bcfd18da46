"""Who checks deliveries sees what is wrong with them."""

import pytest

from chaos.followers import LOG, Told, Track


def told(version: int, *, position: int | None = None, job: str = "a", note: str | None = None) -> Told:
    return Told(job, version if position is None else position, version, note or f"{job} {version}")


def test_what_is_told_once_and_in_order_is_taken() -> None:
    track = Track("a", 3, 3)
    for version in (4, 5, 6):
        track.take(told(version))
    assert (track.cursor, track.told) == (6, [4, 5, 6])


@pytest.mark.parametrize(
    "event",
    [told(5), told(3), told(2), told(4, job="b"), told(4, note="a 5"), told(4, note="b 4")],
    ids=["a gap", "a repetition", "out of order", "another channel's", "a later payload", "another job's payload"],
)
def test_what_is_wrong_in_a_stream_is_seen(event: Told) -> None:
    with pytest.raises(AssertionError):
        Track("a", 3, 3).take(event)


@pytest.mark.parametrize("position", [7, 6])
def test_positions_rise(position: int) -> None:
    track = Track(LOG, 7, 7)
    with pytest.raises(AssertionError):
        track.take(told(1, position=position))
    track.take(told(1, position=9))


def test_who_wants_the_newest_only_may_miss_what_came_before_it() -> None:
    track = Track("a", conflated=True)
    for version in (2, 5):
        track.take(told(version))
    assert track.agrees([1, 2, 3, 4, 5])
    assert not track.agrees([1, 2, 3, 4, 5, 6])
    with pytest.raises(AssertionError):
        track.take(told(5))
