"""Numbers, sizes, moments and codes as people read them."""

from datetime import UTC, datetime

_SPACE = "\u00a0"
_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_THOUSAND = 1000
_DAY = 86_400


def number(value: float) -> str:
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.4g}" if 1e-4 <= abs(value) < 1e6 else f"{value:.4g}"


def share(part: float, whole: float) -> str:
    """What is not nothing is never shown as nothing, and what is not all never as all."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return f"<{_SPACE}0.1{_SPACE}%"
    if 99.9 < percent < 100:
        return f">{_SPACE}99.9{_SPACE}%"
    return f"{percent:.1f}".removesuffix(".0") + f"{_SPACE}%"


def size(bytes_: float) -> str:
    value, unit = float(bytes_), 0
    while value >= _THOUSAND and unit < len(_UNITS) - 1:
        value, unit = value / _THOUSAND, unit + 1
    return f"{value:.0f}{_SPACE}{_UNITS[unit]}" if unit == 0 else f"{value:.1f}{_SPACE}{_UNITS[unit]}"


def edge(value: float, unit: str, width: float) -> str:
    """Of a bin of this width."""
    if unit not in ("date", "timestamp"):
        return number(value)
    try:
        moment = datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return number(value)
    return f"{moment:%Y-%m-%d}" if width >= _DAY and value % _DAY == 0 else f"{moment:%Y-%m-%d %H:%M}"


def code(name: str) -> str:
    return name.replace("_", " ")


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
