"""Reading points back: line protocol as this program writes it, from a file that anyone may have written.

Only names of the schema are let through. A line that does not parse is counted, not fatal: the last one of a run that
was cut off is torn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.record.schema import SCHEMA

MAX_FILE_BYTES = 512 << 20
MAX_LINE_BYTES = 1 << 16

_KEY = r"[A-Za-z_][A-Za-z0-9_]*"
_TAG_VALUE = r"(?:[^\s,=\\]|\\.)+"
_VALUE = r'"(?:[^"\\]|\\.)*"|-?[0-9]{1,19}i|[-+]?[0-9.][-+0-9.eE]{0,30}'
_HEAD = re.compile(rf"({_KEY})((?:,{_KEY}={_TAG_VALUE})*) ")
_TAG = re.compile(rf",({_KEY})=({_TAG_VALUE})")
_FIELD = re.compile(rf"({_KEY})=({_VALUE})(,| )")
_TIME = re.compile(r"-?[0-9]{1,19}")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True)
class PointRead:
    """One point: integers, floats and text by field."""

    measurement: str
    tags: dict[str, str]
    fields: dict[str, int | float | str]
    time_ns: int


def parse_point(line: str) -> PointRead | None:
    """The point of one line; None for anything that is not one of the schema's."""
    head = _HEAD.match(line)
    if head is None or len(line) > MAX_LINE_BYTES or head[1] not in SCHEMA:
        return None
    schema = SCHEMA[head[1]]
    tags = {name: _ESCAPED.sub(r"\1", value) for name, value in _TAG.findall(head[2])}
    types = {field.name: field.type for field in schema.fields}
    fields: dict[str, int | float | str] = {}
    at, end = head.end(), ","
    while end == ",":
        field = _FIELD.match(line, at)
        if field is None:
            return None
        value = _value(field[2], types.get(field[1], ""))
        if value is None:
            return None
        fields[field[1]] = value
        at, end = field.end(), field[3]
    time = _TIME.fullmatch(line, at)
    if time is None or not set(tags) <= set(schema.tags):
        return None
    return PointRead(schema.name, tags, fields, int(time[0]))


def _value(text: str, expected: str) -> int | float | str | None:
    if text.startswith('"'):
        return _ESCAPED.sub(r"\1", text[1:-1]) if expected == "string" else None
    try:
        if text.endswith("i"):
            return int(text[:-1]) if expected == "i" else None
        return float(text) if expected == "float" else None
    except ValueError:
        return None


def parse_points(lines: Iterable[str]) -> tuple[list[PointRead], int]:
    """(points, number of lines that are none)."""
    points, refused = [], 0
    for line in lines:
        point = parse_point(line)
        if point is None:
            refused += 1
        else:
            points.append(point)
    return points, refused


def read_points(path: Path) -> tuple[list[PointRead], int]:
    """(points, number of lines that are none) of a file; no points where there is no file. UsageError where it cannot
    be read or is larger than any run's."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"{path}: larger than the points of any run; not one of this program's files")
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            # A line without its end may be cut anywhere: half a timestamp reads as a whole one.
            return parse_points(line[:-1] if line.endswith("\n") else "" for line in file)
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
