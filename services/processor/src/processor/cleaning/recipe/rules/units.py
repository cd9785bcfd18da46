"""Quantities with a unit, which become numbers in one unit."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from processor.cleaning.recipe.rules.number_form import NumberForm
from processor.cleaning.recipe.rules.numbers import Thousands
from processor.cleaning.recipe.rules.rule import Names, OnError, Reading, Rule, WrongRule, take, texts
from processor.cleaning.recipe.sheet import Sheet
from processor.cleaning.sql import WHITE_CLASS, bound, literal

# By dimension, by unit: what a value is multiplied by and what is then added, for the first unit of the dimension.
UNITS: dict[str, dict[str, tuple[float, float]]] = {
    "length": {
        "m": (1, 0), "mm": (0.001, 0), "cm": (0.01, 0), "dm": (0.1, 0), "km": (1000, 0), "µm": (1e-6, 0),
        "nm": (1e-9, 0),
        "in": (0.0254, 0), "ft": (0.3048, 0), "yd": (0.9144, 0), "mi": (1609.344, 0), "nmi": (1852, 0),
    },
    "mass": {
        "kg": (1, 0), "g": (0.001, 0), "mg": (1e-6, 0), "µg": (1e-9, 0), "t": (1000, 0), "lb": (0.45359237, 0),
        "oz": (0.028349523125, 0), "st": (6.35029318, 0), "ct": (0.0002, 0),
    },
    "volume": {
        "l": (1, 0), "ml": (0.001, 0), "cl": (0.01, 0), "dl": (0.1, 0), "hl": (100, 0), "m³": (1000, 0),
        "cm³": (0.001, 0),
        "gal": (3.785411784, 0), "qt": (0.946352946, 0), "pt": (0.473176473, 0), "floz": (0.0295735295625, 0),
    },
    "area": {
        "m²": (1, 0), "cm²": (0.0001, 0), "mm²": (1e-6, 0), "km²": (1e6, 0), "ha": (1e4, 0), "a": (100, 0),
        "ft²": (0.09290304, 0), "ac": (4046.8564224, 0),
    },
    "temperature": {"°C": (1, 0), "K": (1, -273.15), "°F": (5 / 9, -160 / 9)},
    "time": {
        "s": (1, 0), "ms": (0.001, 0), "µs": (1e-6, 0), "min": (60, 0), "h": (3600, 0), "d": (86400, 0),
        "wk": (604800, 0),
    },
    "speed": {"m/s": (1, 0), "km/h": (1 / 3.6, 0), "mph": (0.44704, 0), "kn": (1852 / 3600, 0)},
    "energy": {"J": (1, 0), "kJ": (1000, 0), "MJ": (1e6, 0), "Wh": (3600, 0), "kWh": (3.6e6, 0), "cal": (4.184, 0),
    "kcal": (4184, 0)},
    "power": {"W": (1, 0), "kW": (1000, 0), "MW": (1e6, 0), "PS": (735.49875, 0), "hp": (745.6998715822702, 0)},
    "pressure": {"Pa": (1, 0), "hPa": (100, 0), "kPa": (1000, 0), "MPa": (1e6, 0), "bar": (1e5, 0), "mbar": (100, 0),
    "psi": (6894.757293168361, 0)},
    "data": {
        "B": (1, 0), "kB": (1e3, 0), "MB": (1e6, 0), "GB": (1e9, 0), "TB": (1e12, 0), "KiB": (1024, 0),
        "MiB": (2**20, 0),
        "GiB": (2**30, 0), "TiB": (2**40, 0),
    },
}  # fmt: skip
# Other ways to write them, whatever the case.
_ALIASES = {
    "m": "meter meters metre metres mètre mètres metro metros", "cm": "centimeter centimetre zentimeter",
    "mm": "millimeter millimetre", "km": "kilometer kilometers kilometre kilometres kilomètres",
    "in": 'inch inches zoll " ″',
    "ft": "foot feet fuß ' ′", "yd": "yard yards", "mi": "mile miles meile meilen", "µm": "μm um",
    "kg": "kilo kilos kilogram kilograms kilogramm kgs", "g": "gram grams gramm gr", "mg": "milligram milligramm",
    "µg": "μg ug mcg", "t": "tonne tonnes ton tons tonnen", "lb": "lbs pound pounds", "oz": "ounce ounces unze unzen",
    "l": "liter liters litre litres ltr", "ml": "milliliter millilitre", "m³": "m3 cbm", "cm³": "cm3 ccm",
    "gal": "gallon gallons",
    "m²": "m2 qm sqm", "cm²": "cm2", "mm²": "mm2", "km²": "km2", "ft²": "ft2 sqft", "ha": "hektar hectare hectares",
    "ac": "acre acres",
    "°C": "c celsius ℃ ºc", "°F": "f fahrenheit ℉ ºf", "K": "kelvin", "s": "sec second seconds sekunde sekunden",
    "min": "minute minutes minuten",
    "h": "hr hrs hour hours std stunde stunden", "d": "day days tag tage", "wk": "week weeks woche wochen",
    "km/h": "kmh kph", "m/s": "mps",
    "kn": "knot knots kt", "kWh": "kwh", "W": "watt", "kW": "kw", "B": "byte bytes", "kB": "kb", "MB": "mb",
    "GB": "gb", "TB": "tb",
}  # fmt: skip
_KNOWN = {unit: dimension for dimension, units in UNITS.items() for unit in units}


class Unit(Rule, frozen=True, tag="unit"):
    """Quantities such as 5 lb, which become numbers in one unit, with 15 digits."""

    columns: Names
    to: Annotated[str, Meta(extra_json_schema={"enum": sorted(_KNOWN)}, description="The unit of the result.")]
    plain: (
        Annotated[
            str,
            Meta(
                extra_json_schema={"enum": sorted(_KNOWN)}, description="The unit of numbers without one, if they have."
            ),
        ]
        | None
    ) = None
    on_error: OnError = "reject"
    decimal: Annotated[Literal[".", ","], Meta(description="What stands before the fraction.")] = "."
    thousands: Thousands = ""

    def check(self) -> Iterator[WrongRule]:
        yield from NumberForm(self.decimal, self.thousands).check()
        if self.plain is not None and _KNOWN[self.plain] != _KNOWN[self.to]:
            yield WrongRule(("plain",), "wrong_unit", f"{self.plain} cannot become {self.to}.")

    def apply(self, sheet: Sheet) -> None:
        units = UNITS[_KNOWN[self.to]]
        names = {unit: unit for unit in units}
        others = {word: unit for unit in units for word in [unit.lower(), *_ALIASES.get(unit, "").split()]}
        pattern = literal(rf"^(?s:(.*[0-9.,]))[{WHITE_CLASS}]*([^0-9{WHITE_CLASS}][^{WHITE_CLASS}]*)?[{WHITE_CLASS}]*$")
        number = bound(
            f"regexp_extract(t, {pattern}, 1)",
            f"TRY_CAST({NumberForm(self.decimal, self.thousands).normal('x', fraction=True, power=True)} AS DOUBLE)",
        )
        whens = [f"WHEN '' THEN {_moved(units[self.plain], units[self.to])}"] if self.plain is not None else []
        whens += [f"WHEN {literal(word)} THEN {_moved(units[unit], units[self.to])}" for word, unit in names.items()]
        later = [f"WHEN {literal(word)} THEN {_moved(units[unit], units[self.to])}" for word, unit in others.items()]
        unit = f"regexp_extract(t, {pattern}, 2)"
        small = f"CASE lower({unit}) {' '.join(later)} END" if later else "NULL"
        body = bound(number, f"CASE WHEN isfinite(x) THEN CASE {unit} {' '.join(whens)} ELSE {small} END END")
        for name in texts(sheet, self.columns):
            text = sheet.columns[name].slot
            value = sheet.let(sheet.call(body, text), text)
            # `5` and `5.0` are the same number.
            changed = sheet.let(
                f"CAST({value} AS VARCHAR) <> {text} AND CAST({value} AS VARCHAR) <> {text} || '.0'", value, text
            )
            reading = Reading(value, "DOUBLE", changed, "not_unit", f"is nothing in {self.to}")
            take(sheet, name, reading, self.on_error)


def _moved(unit: tuple[float, float], to: tuple[float, float]) -> str:
    """15 digits, so that 5 lb are 2.26796185 kg and not 2.2679618500000003."""
    if unit == to:
        return "x"
    factor, plus = unit[0] / to[0], (unit[1] - to[1]) / to[0]
    return f"CAST(printf('%.15g', x * {factor!r}::DOUBLE + {plus!r}::DOUBLE) AS DOUBLE)"
