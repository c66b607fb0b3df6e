"""Quantities with units as a user writes them, to integers and back: rates in bit/s, times in ns, sizes in bytes.

Arithmetic is exact. Nothing is guessed: a missing or unknown unit, a sign, an exponent or a fraction of a base unit is
refused. Rates are decimal (1 Gbit = 10^9 bit/s); sizes know both kB (1000 bytes) and KiB (1024 bytes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

MAX_VALUE = 2**63 - 1
"""Largest result: everything downstream holds these in signed 64-bit integers."""

RATE_UNITS: Mapping[str, int] = {"bit": 1, "kbit": 10**3, "Mbit": 10**6, "Gbit": 10**9}
LOAD_UNITS: Mapping[str, int] = {**RATE_UNITS, "k": 10**3, "M": 10**6, "G": 10**9}
TIME_UNITS: Mapping[str, int] = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9}
SIZE_UNITS: Mapping[str, int] = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}

_TIME_FORMAT_UNITS = {name: factor for name, factor in TIME_UNITS.items() if name != "min"}
_DECIMAL_SIZE_UNITS = {name: factor for name, factor in SIZE_UNITS.items() if not name.endswith("iB")}
_BINARY_SIZE_UNITS = {name: factor for name, factor in SIZE_UNITS.items() if name.endswith("iB")}

_LONGEST_TEXT = 48
_NUMBER = re.compile(r"(?P<whole>[0-9]+)(?:\.(?P<fraction>[0-9]+))?", re.ASCII)
_QUANTITY = re.compile(rf"{_NUMBER.pattern} ?(?P<unit>[A-Za-z]+)", re.ASCII)


class UnitError(ValueError):
    """A quantity does not parse; the message names the accepted units."""


def parse_rate(text: object) -> int:
    """Bit/s of a rate such as "1Gbit" or "2.5 Mbit". Raises UnitError."""
    return _parse(text, "rate", RATE_UNITS, "1Gbit")


def parse_load(text: object) -> int:
    """Bit/s of an offered load: a rate, or the notation of the paper's figures, "600M". Raises UnitError."""
    return _parse(text, "load", LOAD_UNITS, "600M")


def parse_time(text: object) -> int:
    """Nanoseconds of a time such as "2.5ms" or "15s". Raises UnitError."""
    return _parse(text, "time", TIME_UNITS, "2.5ms")


def parse_size(text: object) -> int:
    """Bytes of a size such as "512B", "20MB" or "20MiB". Raises UnitError."""
    return _parse(text, "size", SIZE_UNITS, "20MiB")


def format_rate(rate_bps: int, digits: int | None = None) -> str:
    """Shortest text that parses back to exactly `rate_bps`; with `digits`, rounded to that many significant digits."""
    return _format(rate_bps, RATE_UNITS, digits)


def format_time(time_ns: int, digits: int | None = None) -> str:
    """Shortest text that parses back to exactly `time_ns`; with `digits`, rounded to that many significant digits."""
    return _format(time_ns, _TIME_FORMAT_UNITS, digits)


def format_size(size_bytes: int, digits: int | None = None) -> str:
    """Text that parses back to exactly `size_bytes`; binary units where they come out whole, else decimal ones.

    With `digits`, rounded to that many significant digits in binary units.
    """
    if digits is not None:
        return _format(size_bytes, {"B": 1, **_BINARY_SIZE_UNITS}, digits)
    for name, factor in sorted(_BINARY_SIZE_UNITS.items(), key=lambda item: -item[1]):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{name}"
    return _format(size_bytes, _DECIMAL_SIZE_UNITS, None)


def _parse(text: object, kind: str, units: Mapping[str, int], example: str) -> int:
    accepted = f'a {kind} is a number and one of {", ".join(units)}, such as "{example}"'
    if not isinstance(text, str):
        raise UnitError(f"{_shown(text)} has no unit: {accepted}")
    if len(text) > _LONGEST_TEXT:
        raise UnitError(f"{_shown(text)} is too long: {accepted}")
    if text.startswith("-"):
        raise UnitError(f"{_shown(text)} is negative: {accepted}")
    match = _QUANTITY.fullmatch(text)
    if match is None:
        missing = "has no unit" if _NUMBER.fullmatch(text) else "is not a quantity"
        raise UnitError(f"{_shown(text)} {missing}: {accepted}")
    factor = units.get(match["unit"])
    if factor is None:
        raise UnitError(f"{_shown(text)} has the unknown unit {match['unit']!r}: {accepted}")
    fraction = match["fraction"] or ""
    value = Fraction(int(match["whole"] + fraction), 10 ** len(fraction)) * factor
    if value.denominator != 1:
        raise UnitError(f"{_shown(text)} is not a whole number of {next(iter(units))}: {accepted}")
    if value > MAX_VALUE:
        raise UnitError(f"{_shown(text)} is too large: {accepted}")
    return int(value)


def _shown(text: object) -> str:
    shown = repr(text)
    return shown if len(shown) <= _LONGEST_TEXT else shown[: _LONGEST_TEXT - 3] + "..."


def _format(value: int, units: Mapping[str, int], digits: int | None) -> str:
    sign, magnitude = ("-", -value) if value < 0 else ("", value)
    ascending = sorted(units.items(), key=lambda item: item[1])
    position = max((i for i, (_, factor) in enumerate(ascending) if magnitude >= factor), default=0)
    name, factor = ascending[position]
    if digits is None or factor == 1:
        return f"{sign}{_decimal(Fraction(magnitude, factor))}{name}"
    places = max(digits - len(str(magnitude // factor)), 0)
    rounded = round(Fraction(magnitude, factor), places)
    if position + 1 < len(ascending) and rounded * factor >= ascending[position + 1][1]:
        name, factor = ascending[position + 1]
        rounded = Fraction(1)
    return f"{sign}{_decimal(rounded)} {name}"


def _decimal(value: Fraction) -> str:
    """Exact decimal text of a fraction whose denominator divides a power of ten."""
    places = 0
    while (value * 10**places).denominator != 1:
        places += 1
    digits = str(int(value * 10**places)).rjust(places + 1, "0")
    return digits if places == 0 else f"{digits[:-places]}.{digits[-places:]}"
