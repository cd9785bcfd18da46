"""Bodies in tiny pieces get a share of the gateway's time, and no others wait for that."""

from gateway.wire.pace import MOST_CHUNKS, Pace

SHARE = 100_000  # chunks a second


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_tiny_chunks_are_read_at_a_bounded_speed_however_many_connections_send_them() -> None:
    clock = Clock()
    pace, read, wakes = Pace(clock), 0, [1000.0] * 50
    while clock.now < 1010.0:
        clock.now = min(wakes)
        connection = wakes.index(clock.now)
        read += MOST_CHUNKS
        wakes[connection] = clock.now + pace.seconds_to_wait(MOST_CHUNKS, MOST_CHUNKS * 6)
    assert read <= 11 * SHARE


def test_who_sends_a_little_now_and_then_hardly_waits_behind_one_who_floods() -> None:
    clock = Clock()
    pace, flood_at, waits = Pace(clock), 1000.0, []
    for _ in range(1000):
        clock.now += 0.005
        while flood_at <= clock.now:
            flood_at = clock.now + 0.001 + pace.seconds_to_wait(MOST_CHUNKS, MOST_CHUNKS * 6)
        waits.append(pace.seconds_to_wait(1, 20))
    assert max(waits) < 0.05


def test_bodies_in_pieces_of_some_size_never_wait() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert not any(
        pace.seconds_to_wait(chunks=size // 1000, size=size) for size in (65_536, 262_144) for _ in range(9999)
    )
    assert pace.seconds_to_wait(chunks=1, size=10) == 0
