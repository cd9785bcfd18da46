"""A graph of steps: its order, what comes before what, and its cycles. Nothing here recurses."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

MOST_CYCLES = 100


class Graph:
    """Of the dependencies that there are: unknown ones and those on itself are left out."""

    def __init__(self, depends: Mapping[str, Sequence[str]]) -> None:
        self.depends: dict[str, tuple[str, ...]] = {
            name: tuple(dict.fromkeys(before for before in given if before in depends and before != name))
            for name, given in depends.items()
        }
        self.order = self._order()
        self._numbers = {name: number for number, name in enumerate(self.order)}
        self._before = self._ancestors()

    def ordered(self, name: str) -> bool:
        """Neither in a cycle nor behind one."""
        return name in self._numbers

    def before(self, name: str, other: str) -> bool:
        """Whether the one has always been decided when the other begins. Both must be ordered."""
        return bool(self._before[other] >> self._numbers[name] & 1)

    def _order(self) -> list[str]:
        after: dict[str, list[str]] = {name: [] for name in self.depends}
        for name, given in self.depends.items():
            for before in given:
                after[before].append(name)
        left = {name: len(given) for name, given in self.depends.items()}
        ready = deque(name for name, count in left.items() if count == 0)
        order: list[str] = []
        while ready:
            name = ready.popleft()
            order.append(name)
            for follower in after[name]:
                left[follower] -= 1
                if left[follower] == 0:
                    ready.append(follower)
        return order

    def _ancestors(self) -> dict[str, int]:
        """As sets of bits: a thousand steps are a few words each."""
        ancestors: dict[str, int] = {}
        for name in self.order:
            bits = 0
            for before in self.depends[name]:
                bits |= ancestors[before] | 1 << self._numbers[before]
            ancestors[name] = bits
        return ancestors

    def cycles(self) -> Iterator[tuple[str, ...]]:
        """Each once, as one may walk it along `depends`. Of cycles that share steps, one for each way back."""
        done: set[str] = set(self.order)
        found = 0
        for root in self.depends:
            if root in done:
                continue
            trail: dict[str, Iterator[str]] = {root: iter(self.depends[root])}  # in the order of the walk
            while trail:
                name = next(reversed(trail))
                following = next((other for other in trail[name] if other not in done), None)
                if following is None:
                    del trail[name]
                    done.add(name)
                elif following in trail:
                    walked = list(trail)
                    yield tuple(walked[walked.index(following) :])
                    found += 1
                    if found == MOST_CYCLES:
                        return
                else:
                    trail[following] = iter(self.depends[following])
