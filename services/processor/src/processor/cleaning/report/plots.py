"""Plots as SVG. Each has a title and a description, and its numbers stand in a table beside it."""

from collections.abc import Iterator, Sequence

from processor.cleaning.report.cells import plain
from processor.cleaning.report.document import Bins, OverFile, Rows
from processor.cleaning.report.markup import Child, Markup, element, joined
from processor.cleaning.report.words import code, edge, number, share, size

_WIDTH, _HEIGHT = 420, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 10, 24
_STRIP_WIDTH, _STRIP_HEIGHT = 1000, 150
_ROW_WIDTH, _ROW_HEIGHT, _LEAST_SEEN = 1000, 26, 3.0


def rows_bar(rows: Rows) -> Markup:
    """What became of all rows, to scale."""
    parts = (("out", rows.out), ("rejected", rows.rejected), ("duplicates", rows.duplicates))
    total = sum(count for _, count in parts)
    there = [(name, count) for name, count in parts if count]
    widths = [max(_LEAST_SEEN, count / total * _ROW_WIDTH) for _, count in there] if total else []
    scale = _ROW_WIDTH / sum(widths) if widths else 1
    shapes, at = [], 0.0
    for (name, _), width in zip(there, widths, strict=True):
        shapes.append(element("rect", x=_at(at), y=0, width=_at(width * scale), height=_ROW_HEIGHT, class_=name))
        at += width * scale
    said = ", ".join(f"{number(count)} {name}" for name, count in parts)
    return svg(
        "rows-bar", (_ROW_WIDTH, _ROW_HEIGHT), "What became of the rows", f"Of {number(rows.records)} rows: {said}.",
        shapes, stretch=True,
    )  # fmt: skip


def histogram(id_: str, name: str, before: Bins | None, after: Bins | None) -> Markup:
    """After as bars, before as a line: shares of the values, so that a sample and all rows can be compared."""
    known = after or before
    assert known is not None
    edges, width = known.edges, known.edges[1] - known.edges[0]
    shares = {which: _shares(bins) for which, bins in (("before", before), ("after", after)) if bins is not None}
    most = max((max(each) for each in shares.values()), default=0.0) or 1.0
    x = [_LEFT + (_WIDTH - _LEFT - _RIGHT) * number_ / (len(edges) - 1) for number_ in range(len(edges))]
    floor = _HEIGHT - _BOTTOM

    def y(value: float) -> float:
        return floor - (floor - _TOP) * value / most

    shapes: list[Child] = [
        element("path", d=f"M{_LEFT} {_at(y(level * most))}H{_WIDTH - _RIGHT}", class_="grid") for level in (0.5, 1.0)
    ]
    if "after" in shares:
        gap = 1 if len(edges) > 2 else 0
        bars = (
            f"M{_at(left + gap / 2)} {floor}V{_at(y(value))}H{_at(right - gap / 2)}V{floor}z"
            for left, right, value in zip(x, x[1:], shares["after"], strict=False)
            if value
        )
        shapes.append(element("path", d="".join(bars), class_="after"))
    if "before" in shares:
        steps = "".join(f"V{_at(y(value))}H{_at(right)}" for right, value in zip(x[1:], shares["before"], strict=True))
        shapes.append(element("path", d=f"M{_at(x[0])} {floor}{steps}V{floor}", class_="before-line"))
    shapes.append(element("path", d=f"M{_LEFT} {floor}H{_WIDTH - _RIGHT}", class_="axis"))
    shapes += [_text(_LEFT - 6, y(most) + 4, share(most, 1), "end"), _text(_LEFT - 6, floor, "0", "end")]
    shapes += _labels(known, x)
    highest = shares.get("after") or shares["before"]
    peak = highest.index(max(highest))
    said = (
        f"From {edge(edges[0], known.unit, width)} to {edge(edges[-1], known.unit, width)} in {len(edges) - 1} bins. "
        f"The fullest is {' to '.join(bin_ends(known, peak))}, with {share(max(highest), 1)}."
    )
    title = f"{'Lengths' if known.unit == 'characters' else 'Values'} of {plain(name, 60)}"
    return svg(id_, (_WIDTH, _HEIGHT), title, said, shapes)


def bin_ends(bins: Bins, at: int) -> tuple[str, ...]:
    """One, where the bin is of one value."""
    low, high = bins.edges[at : at + 2]
    if _is_of_one(bins):
        return (edge(low, bins.unit, high - low),)
    return edge(low, bins.unit, high - low), edge(high, bins.unit, high - low)


def _is_of_one(bins: Bins) -> bool:
    width = bins.edges[1] - bins.edges[0]
    return bins.unit in ("number", "characters") and width == 1 and bins.is_whole


def _labels(bins: Bins, x: Sequence[float]) -> Iterator[Markup]:
    edges, width, last = bins.edges, bins.edges[1] - bins.edges[0], len(bins.edges) - 1
    if _is_of_one(bins):  # below the middle of the bars
        for at in sorted({0, last // 2, last - 1} if last > 3 else set(range(last))):
            yield _text((x[at] + x[at + 1]) / 2, _HEIGHT - 7, edge(edges[at], bins.unit, width), "middle")
        return
    for at, anchor in ((0, "start"), (last // 2, "middle"), (last, "end")):
        if at in (0, last) or last > 3:
            yield _text(x[at], _HEIGHT - 7, edge(edges[at], bins.unit, width), anchor)


def strip(over: OverFile) -> Markup:
    """Rejects over the file, from its first byte to its last."""
    parts = len(over.counts[0])
    totals = [sum(counts) for counts in zip(*over.counts, strict=True)]
    most, floor = max(totals) or 1, _STRIP_HEIGHT - _BOTTOM
    step = (_STRIP_WIDTH - _LEFT - _RIGHT) / parts
    shapes: list[Child] = [
        element("path", d=f"M{_LEFT} {_at(floor - (floor - _TOP) * level)}H{_STRIP_WIDTH - _RIGHT}", class_="grid")
        for level in (0.5, 1.0)
    ]
    heights = [0.0] * parts
    for which, counts in enumerate(over.counts):
        bars = []
        for part, count in enumerate(counts):
            if count:
                low = heights[part]
                heights[part] += (floor - _TOP) * count / most
                left = _LEFT + part * step
                bars.append(
                    f"M{_at(left + 1)} {_at(floor - low)}V{_at(floor - heights[part])}H{_at(left + step - 1)}"
                    f"V{_at(floor - low)}z"
                )
        shapes.append(element("path", d="".join(bars), class_=f"reason-{which}"))
    shapes.append(element("path", d=f"M{_LEFT} {floor}H{_STRIP_WIDTH - _RIGHT}", class_="axis"))
    shapes += [_text(_LEFT - 6, _TOP + 4, number(most), "end"), _text(_LEFT - 6, floor, "0", "end")]
    for quarter in range(5):
        at = _LEFT + (_STRIP_WIDTH - _LEFT - _RIGHT) * quarter / 4
        anchor = ("start", "middle", "middle", "middle", "end")[quarter]
        shapes.append(_text(at, _STRIP_HEIGHT - 7, size(over.bytes * quarter / 4) if quarter else "first byte", anchor))
    worst = max(range(parts), key=lambda part: totals[part])
    said = (
        f"The file in {parts} parts of {size(over.bytes / parts)}. Most rejects, {number(totals[worst])}, begin in "
        f"part {worst + 1}. Reasons: {', '.join(map(code, over.reasons))}."
    )
    return svg("rejects-strip", (_STRIP_WIDTH, _STRIP_HEIGHT), "Rejects over the file", said, shapes)


def bar(part: float, whole: float, class_: str) -> Markup:
    """Beside a number in a table, which says the same."""
    width = 100 * part / whole if whole else 0
    shape = element("rect", x=0, y=0, width=_at(max(width, 1.0 if part else 0)), height=8, class_=class_)
    return element(
        "svg", shape, class_="bar", viewBox="0 0 100 8", preserveAspectRatio="none", aria_hidden="true",
        focusable="false",
    )  # fmt: skip


def svg(
    id_: str, box: tuple[int, int], title: str, said: str, shapes: Sequence[Child], *, stretch: bool = False
) -> Markup:
    return element(
        "svg",
        element("title", title, id=f"{id_}-title"),
        element("desc", said, id=f"{id_}-said"),
        joined(shapes),
        role="img",
        aria_labelledby=f"{id_}-title {id_}-said",
        viewBox=f"0 0 {box[0]} {box[1]}",
        preserveAspectRatio="none" if stretch else None,
        class_="plot",
    )


def _shares(bins: Bins) -> list[float]:
    total = sum(bins.counts) + bins.below + bins.above
    return [count / total if total else 0.0 for count in bins.counts]


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return element("text", text, x=_at(x), y=_at(y), text_anchor=anchor)


def _at(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
