"""InfluxDB line protocol: the text form, checked against the schema.

`measurement,tag=value field=1i,other=2.5,text="..." timestamp`, escaped as the InfluxDB v2 line protocol reference
says. Not representable there, and refused with ValueError: an unknown name, a field of another type, NaN and
infinities, an integer beyond 64 bits, a point without a field, and a tag that is empty or holds a control character or
a backslash (readers differ on one before a separator). None leaves the field or tag out. A line break or another
control character in a string field is written as its Python escape (\\n), so that a point stays one line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from harness.record.schema import SCHEMA, FieldType, Measurement

Value = int | float | str | None
Column = Sequence[Value] | npt.NDArray[np.integer] | npt.NDArray[np.floating]

_TAG_ESCAPES = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ "})
_TEXT_ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\"})
_INT64 = 1 << 63


def format_point(measurement: str, tags: Mapping[str, str | None], fields: Mapping[str, Value], time_ns: int) -> str:
    """One line without its line end. ValueError: see above."""
    schema = _measurement(measurement)
    parts = [
        f"{name}={_field(schema.name, name, _type_of(schema, name), value)}"
        for name, value in fields.items()
        if value is not None
    ]
    if not parts:
        raise ValueError(f"{measurement}: a point needs at least one field")
    return f"{_head(schema, tags)} {','.join(parts)} {_integer(measurement, 'timestamp', time_ns)}"


def format_columns(
    measurement: str, tags: Mapping[str, str | None], columns: Mapping[str, Column], time_ns: Sequence[int]
) -> list[str]:
    """One line per entry of the columns, all of one length n; a None entry leaves its field out of that line.

    A point of which every field is None is left out. ValueError: see above, and for columns of different lengths.
    """
    schema = _measurement(measurement)
    head = _head(schema, tags)
    times = _checked(measurement, "timestamp", "i", _plain(time_ns))
    if None in times:
        raise ValueError(f"{measurement}: a point needs a timestamp")
    types = {name: _type_of(schema, name) for name in columns}
    checked = {name: _checked(measurement, name, types[name], _plain(column)) for name, column in columns.items()}
    for name, column in checked.items():
        if len(column) != len(times):
            raise ValueError(f"{measurement}.{name}: {len(column)} entries for {len(times)} timestamps")
    if not checked:
        return []
    # One template for whole lines is several times faster than building every field by itself.
    parts = [f"{name}={_FORMATS[types[name]]}" for name in checked]
    whole = f"{head.replace('%', '%%')} {','.join(parts)} %d"
    lines = []
    for row in zip(*checked.values(), times, strict=True):
        if None not in row:
            lines.append(whole % row)
            continue
        fields = ",".join([part % (value,) for part, value in zip(parts, row, strict=False) if value is not None])
        if fields:
            lines.append(f"{head} {fields} {row[-1]}")
    return lines


_FORMATS: dict[FieldType, str] = {"i": "%di", "float": "%r", "string": '"%s"'}


def _plain(column: Column) -> list[Value]:
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def _checked(measurement: str, name: str, field_type: FieldType, column: list[Value]) -> list[Value]:
    """The column as plain numbers or escaped text, ready for _FORMATS; ValueError for an entry that cannot be one."""
    if field_type == "string":
        return [None if v is None else _text(measurement, name, v) for v in column]
    kind = int if field_type == "i" else float
    if set(map(type, column)) <= {kind, type(None)}:
        known = [v for v in column if v is not None]
        if kind is int and (not known or (min(known) >= -_INT64 and max(known) < _INT64)):  # type: ignore[operator]
            return column
        if kind is float and all(map(math.isfinite, known)):  # type: ignore[arg-type]
            return column
    check = _integer if field_type == "i" else _number
    return [None if v is None else check(measurement, name, v) for v in column]


def _measurement(name: str) -> Measurement:
    try:
        return SCHEMA[name]
    except KeyError:
        raise ValueError(f"no measurement {name!r}; there are {', '.join(SCHEMA)}") from None


def _type_of(schema: Measurement, field: str) -> FieldType:
    for known in schema.fields:
        if known.name == field:
            return known.type
    raise ValueError(f"{schema.name} has no field {field!r}")


def _head(schema: Measurement, tags: Mapping[str, str | None]) -> str:
    unknown = set(tags) - set(schema.tags)
    if unknown:
        raise ValueError(f"{schema.name} has no tag {sorted(unknown)[0]!r}")
    parts = [schema.name]
    for name in sorted(schema.tags):
        value = tags.get(name)
        if value is None:
            continue
        if not value or "\\" in value or not value.isprintable():
            raise ValueError(f"{schema.name}: tag {name} cannot be {value!r}")
        parts.append(f"{name}={value.translate(_TAG_ESCAPES)}")
    return ",".join(parts)


def _field(measurement: str, name: str, field_type: FieldType, value: Value) -> str:
    if field_type == "i":
        return f"{_integer(measurement, name, value)}i"
    if field_type == "float":
        return repr(_number(measurement, name, value))
    return f'"{_text(measurement, name, value)}"'


def _text(measurement: str, name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{measurement}.{name}: {value!r} is not a string")
    return _one_line(value).translate(_TEXT_ESCAPES)


def _number(measurement: str, name: str, value: object) -> float:
    number = value.item() if isinstance(value, np.generic) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
        raise ValueError(f"{measurement}.{name}: {value!r} is not a finite number")
    return float(number)


def _integer(measurement: str, name: str, value: object) -> int:
    number = value.item() if isinstance(value, np.generic) else value
    if isinstance(number, bool) or not isinstance(number, int) or not -_INT64 <= number < _INT64:
        raise ValueError(f"{measurement}.{name}: {value!r} is not a 64-bit integer")
    return number


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
