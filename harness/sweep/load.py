"""A sweep file and its overrides to a SweepFile, with every mistake of the file itself as one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from harness.errors import UsageError
from harness.profile.checks import suggestion
from harness.profile.load import EXPECTED, apply_overrides, read_document
from harness.profile.model import CONTROL, MODES
from harness.profile.table import Table
from harness.sweep.metric import metric_problem
from harness.sweep.model import StopRule, SweepDocument, SweepTable

PROFILE_AXIS = "profile"
"""The name the axis of profiles has in [[only]] and [[exclude]]; its values are the paths as given."""
CELLS_MAX = 10_000
_TABLES: Mapping[str, type[Table]] = {"": SweepDocument, "sweep": SweepTable, "sweep.stop": StopRule}
_OF_THE_SWEEP = {
    "migration.modes": "sweep.modes",
    "migration.repetitions": "sweep.repetitions",
    "profile.name": "sweep.name",
    "record.results": "--results",
}
_EXPECTED = {**EXPECTED, "list_type": "must be a list", "missing": "is required"}


@dataclass(frozen=True)
class SweepFile:
    """A sweep file whose own keys are right; whether its cells are, `harness.sweep.matrix` says."""

    path: Path
    text: str
    """As given."""
    table: SweepTable
    settings: Mapping[str, Any]
    """Values for all cells, by dotted key."""
    axes: Mapping[str, tuple[Any, ...]]
    """Values of each axis, by dotted key, in the file's order."""
    only: tuple[Mapping[str, Any], ...]
    exclude: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        """Name in results."""
        return self.table.name or self.path.stem

    @property
    def profiles(self) -> tuple[str, ...]:
        """Paths of the profiles as given, relative to the file."""
        return (*((self.table.profile,) if self.table.profile else ()), *self.table.profiles)

    @property
    def control_repetitions(self) -> int:
        """Runs of the control per cell beside `modes`."""
        if self.table.control_repetitions is not None:
            return self.table.control_repetitions
        return 0 if CONTROL in self.table.modes else 1


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> SweepFile:
    """Read and check a sweep file. `overrides` ("key=value") replace keys of [sweep] where they start with "sweep.",
    else keys of the profile: the value of an axis, or what holds for all cells.

    Raises UsageError with one line per mistake.
    """
    document = read_document(path)
    nested: dict[str, Any] = {}
    # By hand and not by the paths: an override of a whole table sets several keys.
    apply_overrides(nested, overrides)
    own = nested.pop("sweep", None)
    if isinstance(own, dict):
        table = document.setdefault("sweep", {})
        if isinstance(table, dict):
            _merge(table, own)
    try:
        read = SweepDocument.model_validate(document)
    except ValidationError as error:
        raise UsageError(
            "\n".join(f"{path}: {_explain(detail)}" for detail in error.errors(include_url=False))
        ) from None
    settings, axes = flattened(read.settings), flattened(read.matrix)
    found = list(_conflicts(settings, axes))
    for key, value in flattened(nested).items():
        if key in axes:
            axes[key] = value if isinstance(value, list) else [value]
        else:
            settings[key] = value
    only, exclude = [flattened(item) for item in read.only], [flattened(item) for item in read.exclude]
    found += _problems(read.sweep, settings, axes)
    if not found:
        choices = {**axes, PROFILE_AXIS: [read.sweep.profile, *read.sweep.profiles]}
        found += [p for what, items in (("only", only), ("exclude", exclude)) for p in _choices(what, items, choices)]
    if found:
        raise UsageError("\n".join(f"{path}: {problem}" for problem in found))
    return SweepFile(
        path=path,
        text=path.read_text(encoding="utf-8"),
        table=read.sweep,
        settings=settings,
        axes={key: tuple(values) for key, values in axes.items()},
        only=tuple(only),
        exclude=tuple(exclude),
    )


def flattened(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted key, whether the file says "load.rate" = x, load.rate = x or [set.load] rate = x."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            found.update(flattened(value, f"{key}."))
        else:
            found[key] = value
    return found


def _merge(table: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        below = table.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            _merge(below, value)
        else:
            table[key] = value


def _conflicts(settings: Mapping[str, Any], axes: Mapping[str, Any]) -> Iterator[str]:
    for key in settings:
        if key in axes:
            yield f"set.{key}: is an axis of [matrix], too; leave one of them out"


def _problems(table: SweepTable, settings: Mapping[str, Any], axes: Mapping[str, Any]) -> Iterator[str]:
    for where, keys in (("set", settings), ("matrix", axes)):
        for key in keys:
            if key in _OF_THE_SWEEP:
                yield f"{where}.{key}: a sweep has {_OF_THE_SWEEP[key]} for it"
    count = len(table.profiles) + bool(table.profile)
    if not count:
        yield "sweep.profiles: no profile; name at least one, by its path relative to this file"
    for key, values in axes.items():
        if not isinstance(values, list):
            yield f"matrix.{key}: must be a list of values, not {values!r:.60}; a value for all cells belongs to [set]"
        elif not values:
            yield f"matrix.{key}: an axis without a value makes an empty matrix; give at least one"
        else:
            count *= len(values)
    if count > CELLS_MAX:
        yield f"matrix: {count} cells are too many (at most {CELLS_MAX})"
    yield from _modes(table)
    if table.stop is not None:
        problem = metric_problem(table.stop.metric)
        if problem:
            yield f"sweep.stop.metric: {problem}"


def _modes(table: SweepTable) -> Iterator[str]:
    for index, mode in enumerate(table.modes):
        if mode not in MODES:
            yield f"sweep.modes[{index}]: unknown mode {mode!r}{suggestion(mode, MODES)}"
        elif mode in table.modes[:index]:
            yield f"sweep.modes[{index}]: mode {mode!r} stands here twice"
    if CONTROL in table.modes and table.control_repetitions:
        yield f'sweep.control_repetitions: "{CONTROL}" is among sweep.modes already; leave one of them out'


def _choices(what: str, items: Sequence[Mapping[str, Any]], axes: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    for index, item in enumerate(items):
        where = f"{what}[{index}]"
        if not item:
            yield f"{where}: names no key"
        for key, given in item.items():
            if key not in axes:
                yield f"{where}.{key}: no axis of this sweep{suggestion(key, tuple(axes))}"
                continue
            for value in given if isinstance(given, list) else [given]:
                if value not in axes[key]:
                    near = suggestion(str(value), tuple(str(one) for one in axes[key]))
                    yield f"{where}.{key}: {value!r:.60} is no value of that axis{near}"


def _explain(detail: ErrorDetails) -> str:
    location = detail["loc"]
    # Locations inside a union end in names of its members.
    keys = [
        str(key) for key in location if isinstance(key, int) or not key.startswith(("float", "literal", "function"))
    ]
    path = ".".join(keys)
    if detail["type"] == "extra_forbidden":
        table = _TABLES.get(".".join(keys[:-1]), SweepDocument)
        known = tuple(field.alias or name for name, field in table.model_fields.items())
        return f"{path}: unknown key{suggestion(keys[-1], known)}"
    if detail["type"] == "value_error":
        return f"{path}: {detail['ctx']['error']}"
    expected = _EXPECTED.get(detail["type"]) or detail["msg"].replace("Input should", "must")
    return f"{path}: {expected}" if detail["type"] == "missing" else f"{path}: {expected}, not {detail['input']!r:.60}"
