"""What was survived: each fault with its times, and how long it took until all went well again."""

from collections import Counter
from dataclasses import dataclass, field
from statistics import quantiles


@dataclass
class Survival:
    timeline: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)  # by kind
    victims: dict[str, Counter[str]] = field(default_factory=dict)
    recoveries: list[float] = field(default_factory=list)  # seconds from the end of what happened

    def note(self, at: float, what: str) -> None:
        self.timeline.append(f"{at:8.2f} s  {what}")
        print(self.timeline[-1], flush=True)

    def survived(self, kind: str, victim: str) -> None:
        self.faults[kind] += 1
        self.victims.setdefault(kind, Counter())[victim] += 1

    def lines(self) -> list[str]:
        said = [
            f"{kind:>10} {count:4d}  ({', '.join(f'{name} {n}' for name, n in self.victims[kind].most_common(4))}"
            f"{', …' if len(self.victims[kind]) > 4 else ''})"
            for kind, count in self.faults.most_common()
        ]
        return [f"{self.faults.total()} faults survived", *said, self._recovery()]

    def _recovery(self) -> str:
        seconds = sorted(self.recoveries)
        if len(seconds) < 2:
            return f"recovered within {seconds}"
        cuts = quantiles(seconds, n=20, method="inclusive")
        return (
            f"recovered {len(seconds)} times, within p50 {cuts[9]:.2f} s, p95 {cuts[18]:.2f} s, max {seconds[-1]:.2f} s"
        )
