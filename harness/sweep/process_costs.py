"""CPU time and memory of processes, from /proc (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_USER_FIELD, _SYSTEM_FIELD = 14 - 3, 15 - 3
"""Places in /proc/PID/stat after the name, which may hold spaces."""


@dataclass(frozen=True)
class Costs:
    """CPU time since their start, user and system, and resident memory now, of several processes together."""

    cpu_s: float
    rss_bytes: int


def costs_of(pids: Iterable[int | None]) -> Costs:
    """None: this process. OSError for one that has gone."""
    cpu_s, rss_bytes = 0.0, 0
    for pid in pids:
        folder = Path("/proc") / ("self" if pid is None else str(pid))
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        cpu_s += (int(fields[_USER_FIELD]) + int(fields[_SYSTEM_FIELD])) / _TICKS_PER_S
        rss_bytes += int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return Costs(cpu_s, rss_bytes)
