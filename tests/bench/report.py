"""What a benchmark found: a table on the console, and build/bench/<name>.json."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_FOLDER = Path(__file__).parents[2] / "build" / "bench"


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure's target, as `≥ 15000` or `≤ 100`."""

    at_least: float | None = None
    at_most: float | None = None

    def met(self, figure: float) -> bool:
        return (self.at_least is None or figure >= self.at_least) and (self.at_most is None or figure <= self.at_most)

    def __str__(self) -> str:
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"


@dataclass(frozen=True, slots=True)
class Result:
    name: str
    settings: Mapping[str, object]  # what the figures depend on: sizes, counts, servers' versions
    figures: Mapping[str, float]


def percentiles(name: str, samples: Sequence[float], unit: str) -> dict[str, float]:
    """p50, p95 and p99, named as in `first_frame_p50_ms`."""
    cuts = statistics.quantiles(samples, n=100, method="inclusive")
    return {f"{name}_p{percent}_{unit}": cuts[percent - 1] for percent in (50, 95, 99)}


def report(result: Result, aims: Mapping[str, Aim] | None = None) -> None:
    """Print the result beside its aims, and write it where other programs find it."""
    print(f"\n{result.name}: " + ", ".join(f"{name} {value}" for name, value in result.settings.items()))
    width = max(len(name) for name in result.figures)
    for name, figure in result.figures.items():
        aim = (aims or {}).get(name)
        verdict = "" if aim is None else f"   aim {aim}: {'met' if aim.met(figure) else 'MISSED'}"
        print(f"  {name:<{width}}  {figure:>14,.2f}{verdict}")
    _FOLDER.mkdir(parents=True, exist_ok=True)
    (_FOLDER / f"{result.name}.json").write_text(json.dumps(asdict(result), indent=2) + "\n")
