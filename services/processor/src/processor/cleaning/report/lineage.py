"""Which column of the file each column is at each place of the recipe, for what is logged under the names of then."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from processor.cleaning.recipe.document import Recipe
from processor.cleaning.recipe.rules.columns import DropColumns, Merge, Rename, Split


@dataclass(eq=False, slots=True)
class Track:
    """One column, from where it begins to exist."""

    source: str | None  # its name in the file
    made_of: tuple[str, ...] = ()  # if it is a part or several of the file's columns
    dropped_by: int | None = None


@dataclass(slots=True)
class Lineage:
    final: dict[str, Track]
    tracks: list[Track]
    names: list[tuple[int, dict[str, Track]]] = field(default_factory=list)  # from which rule on who is called what

    def at(self, rule: int | None, name: str) -> Track | None:
        """Whom that rule, or reading the file, has called so."""
        known: dict[str, Track] = {}
        for since, names in self.names:
            if since > (-1 if rule is None else rule):
                break
            known = names
        return known.get(name)


def trace(recipe: Recipe, names: Sequence[str]) -> Lineage:
    current = {name: Track(name) for name in names}
    lineage = Lineage(current, list(current.values()), [(-1, current)])
    for at, rule in enumerate(recipe.rules):
        match rule:
            case Rename():
                current = {rule.names.get(name, name): track for name, track in current.items()}
            case DropColumns():
                current = _without(current, rule.columns, at)
            case Split():
                parts = {part: _made(current, [rule.column]) for part in rule.into}
                lineage.tracks += parts.values()
                current = _put(current, rule.column, () if rule.keep else (rule.column,), parts, at)
            case Merge():
                whole = {rule.into: _made(current, rule.columns)}
                lineage.tracks += whole.values()
                current = _put(current, rule.columns[0], () if rule.keep else rule.columns, whole, at)
            case _:
                continue
        lineage.names.append((at + 1, current))
    lineage.final = current
    return lineage


def _made(current: dict[str, Track], names: Sequence[str]) -> Track:
    of = [current[name] for name in names if name in current]
    return Track(None, tuple(dict.fromkeys(each for track in of for each in _sources(track))))


def _sources(track: Track) -> tuple[str, ...]:
    return track.made_of if track.source is None else (track.source,)


def _without(current: dict[str, Track], names: Sequence[str], rule: int) -> dict[str, Track]:
    for name in names:
        if name in current:
            current[name].dropped_by = rule
    return {name: track for name, track in current.items() if name not in names}


def _put(current: dict[str, Track], at: str, goes: Sequence[str], new: dict[str, Track], rule: int) -> dict[str, Track]:
    columns: dict[str, Track] = {}
    for name, track in current.items():
        if name in goes:
            track.dropped_by = rule
        else:
            columns[name] = track
        if name == at:
            columns |= new
    return columns
