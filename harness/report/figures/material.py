"""What figures are made from: the runs that count in one set of figures, with what they were set to."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from harness.record.sweep import Result, Results
from harness.report.cells import CONTROL, Group, Layout, counted, of_group
from harness.report.conditions import Conditions, read_conditions
from harness.report.table import MODE_ORDER

LOAD_AXIS = "offered load, both directions together [Mbit/s]"


@dataclass(frozen=True)
class Material:
    """One group of runs. `runs` are all that may be in a figure; `valid` leaves out the FAILED.

    frames and modes are those of the whole results, so that a look means the same in every figure.
    """

    results: Results
    layout: Layout
    group: Group
    runs: tuple[Result, ...]
    frames: tuple[int, ...]
    modes: tuple[str, ...]
    conditions: Callable[[Path], Conditions] = field(default=read_conditions)

    @property
    def valid(self) -> tuple[Result, ...]:
        return tuple(run for run in self.runs if run.verdict == "VALID")

    @property
    def has_failed(self) -> bool:
        return any(run.verdict == "FAILED" for run in self.runs)

    def load_mbps(self, run: Result) -> float:
        """Place of a run on the load axis."""
        return self.layout.place(run.cell).nominal_load_bps / 1e6

    def scale_note(self) -> str:
        """What a reader of a scaled sweep's figure must know; "" without scaling."""
        if self.results.scale == 1:
            return ""
        uplinks = sorted({run.cell.uplink_bps for run in self.runs})
        rates = ", ".join(f"{rate / 1e6:g}" for rate in uplinks)
        return f"scale {self.results.scale:g}: uplink {rates} Mbit/s; axis shows loads of the unscaled experiment"

    def name(self, kind: str, number: int | None) -> str:
        """File name of a figure of this group, without suffix."""
        parts = [f"fig-{number}" if number is not None else "", file_name(self.group.title), kind]
        return "-".join(part for part in parts if part)


def materials(results: Results) -> list[Material]:
    """One for every group with runs that count."""
    layout = Layout(results)
    runs = counted(results.results, with_failed=True)
    frames = tuple(sorted({run.cell.frame_bytes for run in runs}))
    modes = in_order({run.mode for run in runs})
    conditions = cache(read_conditions)
    found = []
    for group in sorted({layout.group(run.cell) for run in runs}):
        members = tuple(of_group(runs, layout, group))
        found.append(Material(results, layout, group, members, frames, modes, conditions))
    return found


def in_order(modes: set[str]) -> tuple[str, ...]:
    """Control, statelet, duplication, then others by name."""
    return tuple(sorted(modes, key=lambda mode: (MODE_ORDER.index(mode) if mode in MODE_ORDER else 99, mode)))


def modes_of_migrations(modes: Sequence[str]) -> tuple[str, ...]:
    return tuple(mode for mode in modes if mode != CONTROL)


def file_name(text: str) -> str:
    """Text from a file as part of a file name: letters, digits, '.', '_' and '-' only, at most 60 of them."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:60] or "unnamed"
