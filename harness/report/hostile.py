"""Results come from files anyone may have written: what cannot be a measurement is damage, whatever it parses as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from harness.errors import UsageError
from harness.record.sweep import Result, Results
from harness.units import MAX_VALUE

TEXT_MAX = 60


def checked(results: Results) -> Results:
    """The same results; a run with a number beyond 64 bits counts as damaged. UsageError for a cell that has one."""
    for result in results.results:
        cell = result.cell
        sizes = (cell.frame_bytes, cell.load_bps, cell.uplink_bps, cell.nominal_load_bps, cell.nominal_uplink_bps)
        if not all(0 < size <= MAX_VALUE for size in sizes):
            raise UsageError(f"{results.path}: cell {cell.digest} has a size or rate that is not a positive number")
    return replace(results, results=tuple(_checked(result) for result in results.results))


def _checked(result: Result) -> Result:
    if result.summary is None or all(abs(number) <= MAX_VALUE for number in _numbers(result.summary.model_dump())):
        return result
    damage = f"{result.folder}: summary.json has a number beyond 64 bits"
    return replace(result, summary=None, damage=damage)


def _numbers(value: object) -> Iterable[float]:
    if isinstance(value, (int, float)):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from _numbers(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _numbers(entry)


def shown(text: str, longest: int = TEXT_MAX) -> str:
    """Text for a picture or a file name's neighbour: one printable line of bounded length."""
    line = "".join(character if character.isprintable() else "?" for character in text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
