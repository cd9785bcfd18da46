"""Millrace in simulation: the measured points of one machine again, and what more machines would do.

Nothing is measured here: the same seed gives the same figures, in half a minute. What the parts take is in
simulation/measured.py, how many of each there are in simulation/sizing.py, and what comes of it in
deploy/decisions/0034-scale.md.
"""

from bench.report import Result
from bench.simulation import cell, measured, single_machine
from bench.simulation.kernel import World
from bench.simulation.sizing import FOLLOWERS, Demand, Fleet, fleet, most_events_per_log

SEED = 34
CELL_SECONDS = 4.0
RAMP = (500, 2_000, 4_000, 6_000, 8_000, 10_000)  # events a second of one log
DEMANDS = {
    "1k_clients_100_per_s": Demand(1_000, 100),
    "100k_clients_2k_per_s": Demand(100_000, 2_000),
    "100k_clients_100k_per_s": Demand(100_000, 100_000),
    "10m_clients_100k_per_s": Demand(10_000_000, 100_000),
}


async def run() -> Result:
    figures = _points() | _ramp()
    for single_messages in (True, False):
        way = "as_it_is" if single_messages else "without_single_messages"
        figures[f"{way}_events_per_s_per_log"] = most_events_per_log(single_messages=single_messages)
        for name, demand in DEMANDS.items():
            found = fleet(demand, single_messages=single_messages)
            figures |= found.figures(f"{way}_{name}") | _times(f"{way}_{name}", demand, found)
    settings = {"seed": SEED, "followers of an event": FOLLOWERS, "seconds of a cell": CELL_SECONDS}
    return Result("scale", settings, figures)


def _points() -> dict[str, float]:
    """Each simulated figure, the middle of the measured, and by how much it is off."""
    figures: dict[str, float] = {}
    for name, simulated in single_machine.simulated(SEED).items():
        point = measured.POINTS[name]
        figures |= {
            f"{name}_simulated": simulated,
            f"{name}_measured": point.middle,
            f"{name}_error_percent": 100 * point.error(simulated),
        }
    return figures


def _ramp() -> dict[str, float]:
    """One log with three notifiers, until something is full."""
    figures: dict[str, float] = {}
    for rate in RAMP:
        found = cell.run(World(SEED), cell.Cell(rate, notifiers=3, gateways_per_notifier=1.0), CELL_SECONDS)
        shown = ("p50_ms", "p99_ms", "unpublished_events", "notifier_busy", "postgres_busy")
        figures |= {f"one_log_{rate}_per_s_{what}": found[what] for what in shown}
    return figures


def _times(name: str, demand: Demand, found: Fleet) -> dict[str, float]:
    """How long an event takes from its append to a client, in one cell of them."""
    part = cell.Cell(
        events_per_s=demand.events_per_s / found.logs,
        notifiers=found.notifiers // found.logs,
        gateways_per_notifier=found.gateways / found.notifiers,
    )
    return {f"{name}_{what}": figure for what, figure in cell.run(World(SEED), part, CELL_SECONDS).items()}
