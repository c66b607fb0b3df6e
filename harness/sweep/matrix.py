"""The cells of a sweep: the product of profiles and axes, every one checked as a whole before anything runs. Pure, but
for reading the profiles."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from harness.errors import ProfileError, UsageError
from harness.plan import Plan, PlannedRun, make_plan, profile_digest
from harness.profile.derived import mean_frame_bytes
from harness.profile.load import parse_profile, read_document
from harness.profile.model import Profile
from harness.profile.topology import make_topology
from harness.record.sweep import SweepCell
from harness.sweep.load import PROFILE_AXIS, SweepFile
from harness.sweep.order import SweepRun
from harness.sweep.scale import scaled

_PROBLEMS_SHOWN = 20


@dataclass(frozen=True)
class Cell:
    """One point of the matrix. `profile` is what is run, `nominal` the same before scaling."""

    title: str
    """Its values on every axis that has more than one."""
    nominal: Profile
    profile: Profile
    settings: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Of the effective profile, which neither the modes of the sweep nor its repetitions are part of: two sweeps
        of the same cell have the same digest."""
        return profile_digest(self.profile)

    def document(self) -> SweepCell:
        """The cell as sweep.json has it."""
        return SweepCell(
            digest=self.digest,
            profile=self.profile.name,
            image=self.profile.vnf.image,
            frame_bytes=mean_frame_bytes(self.profile),
            load_bps=self.profile.load.rate_bps,
            uplink_bps=self.profile.uplink.rate_bps,
            nominal_load_bps=self.nominal.load.rate_bps,
            nominal_uplink_bps=self.nominal.uplink.rate_bps,
            settings=dict(self.settings),
        )


def nominal_cells(file: SweepFile) -> tuple[Cell, ...]:
    """Every cell before scaling, in the order of the file. UsageError with one line for each mistake of any cell."""
    documents = _profiles(file)
    cells: list[Cell] = []
    mistakes: dict[str, list[str]] = {}
    for values in product(documents, *file.axes.values()):
        point = dict(zip((PROFILE_AXIS, *file.axes), values, strict=True))
        if not _chosen(file, point):
            continue
        title = _title(file, point)
        path = point.pop(PROFILE_AXIS)
        try:
            profile = _profile(documents[path], {**file.settings, **point}, title)
        except ProfileError as error:
            for line in str(error).splitlines():
                mistakes.setdefault(line.removeprefix(f"{title}: "), []).append(title)
            continue
        cells.append(Cell(title, profile, profile, point))
    if not cells and not mistakes:
        raise UsageError(f"{file.path}: empty matrix: [[only]] and [[exclude]] leave no cell")
    _refuse(file, mistakes, cells)
    return tuple(cells)


def scale_cells(file: SweepFile, cells: tuple[Cell, ...], factor: float) -> tuple[Cell, ...]:
    """The cells with their profiles scaled. UsageError naming every cell that is not possible at this scale."""
    found: list[Cell] = []
    mistakes: dict[str, list[str]] = {}
    for cell in cells:
        try:
            found.append(replace(cell, profile=_buildable(scaled(cell.nominal, factor), cell.title)))
        except ProfileError as error:
            for line in str(error).splitlines():
                mistakes.setdefault(line.partition(": ")[2], []).append(f"{cell.title} (scaled by {factor:g})")
    _refuse(file, mistakes, found)
    return tuple(found)


def plan_of(cell: Cell, run: SweepRun) -> Plan:
    """The plan of one run of a cell. Load seed: the profile's and the repetition, the same for all modes."""
    plan = make_plan(cell.profile)
    seed = (cell.profile.load.seed + run.repetition - 1) % 2**32
    one = PlannedRun(number=0, repetition=run.repetition - 1, mode=run.mode, load_seed=seed)
    count = len(plan.runs)
    return replace(plan, runs=(one,), duration_ns=plan.duration_ns // count, disk_bytes=plan.disk_bytes // count)


def _profiles(file: SweepFile) -> dict[str, dict[str, Any]]:
    """TOML data by path as given. UsageError for one that cannot be read or stands there twice."""
    documents: dict[str, dict[str, Any]] = {}
    for given in file.profiles:
        if given in documents:
            raise UsageError(f"{file.path}: sweep.profiles: {given!r} stands here twice")
        path = file.path.parent / given
        try:
            document = read_document(path)
        except ProfileError as error:
            raise UsageError(f"{file.path}: sweep.profiles: {error}") from error
        identity = document.setdefault("profile", {})
        if isinstance(identity, dict):
            identity.setdefault("name", path.stem)
        documents[given] = document
    return documents


def _profile(document: Mapping[str, Any], values: Mapping[str, Any], title: str) -> Profile:
    """The profile with `values` over it, whole check included. ProfileError with lines beginning with `title`."""
    merged = copy.deepcopy(dict(document))
    for key, value in values.items():
        keys = key.split(".")
        table: Any = merged
        for depth, name in enumerate(keys[:-1]):
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise ProfileError(f"{title}: {key}: {'.'.join(keys[: depth + 1])} is a value, not a table")
        table[keys[-1]] = copy.deepcopy(value)
    migration = merged.get("migration")
    if isinstance(migration, dict):
        # The sweep has its own: left in, they would tell apart what is the same experiment.
        migration.pop("modes", None)
        migration.pop("repetitions", None)
    merged.pop("record", None)
    return _buildable(parse_profile(merged, source=title), title)


def _buildable(profile: Profile, title: str) -> Profile:
    """The profile, of which the testbed can be built as far as can be said without building it. ProfileError."""
    try:
        make_topology(profile, "a0000000")
    except ProfileError as error:
        raise ProfileError("\n".join(f"{title}: {line}" for line in str(error).splitlines())) from error
    return profile


def _chosen(file: SweepFile, point: Mapping[str, Any]) -> bool:
    def agrees(item: Mapping[str, Any]) -> bool:
        return all(point[key] in (value if isinstance(value, list) else [value]) for key, value in item.items())

    return (not file.only or any(map(agrees, file.only))) and not any(map(agrees, file.exclude))


def _title(file: SweepFile, point: Mapping[str, Any]) -> str:
    lengths = {PROFILE_AXIS: len(file.profiles), **{key: len(values) for key, values in file.axes.items()}}
    shown = [f"{key}={value}" for key, value in point.items() if lengths[key] > 1]
    return " ".join(shown) or f"{PROFILE_AXIS}={point[PROFILE_AXIS]}"


def _mistakes(file: SweepFile, mistakes: Mapping[str, list[str]]) -> Iterator[str]:
    for number, (mistake, titles) in enumerate(mistakes.items()):
        if number == _PROBLEMS_SHOWN:
            yield f"{file.path}: and {len(mistakes) - number} more mistakes like these"
            return
        others = f" and {len(titles) - 1} more" if len(titles) > 1 else ""
        yield f"{file.path}: cell {titles[0]}{others}: {mistake}"


def _duplicates(file: SweepFile, cells: list[Cell]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for cell in cells:
        if cell.digest in seen:
            yield f"{file.path}: cell {cell.title}: the same as cell {seen[cell.digest]}; leave one of them out"
        seen.setdefault(cell.digest, cell.title)


def _refuse(file: SweepFile, mistakes: Mapping[str, list[str]], cells: list[Cell]) -> None:
    lines = [*_mistakes(file, mistakes), *_duplicates(file, cells)]
    if lines:
        raise UsageError("\n".join(lines))
