"""What the machine did to us: CPU time and run delay per process, steal and idle of all CPUs, resident memory.

Run delay is the time a runnable thread waited for a CPU (second figure of /proc/<pid>/task/<tid>/schedstat). Parsing is
pure; one sample of five processes reads about thirty small files, cheap at 10 Hz.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MachineError

PROC = Path("/proc")


@dataclass(frozen=True)
class CpuTimes:
    """Clock ticks of all CPUs together since boot (/proc/stat, first line)."""

    total_ticks: int
    idle_ticks: int
    steal_ticks: int


@dataclass(frozen=True)
class ProcessTimes:
    """Sums over the threads of a process; `run_delay_ns` is None where the kernel keeps no schedstat."""

    cpu_ns: int
    run_delay_ns: int | None
    resident_bytes: int


@dataclass(frozen=True)
class HostSample:
    """One reading; a process that has ended is missing from `processes`."""

    monotonic_ns: int
    cpu: CpuTimes
    processes: Mapping[str, ProcessTimes]


@dataclass(frozen=True)
class ProcessLoad:
    """One process over an interval: fractions of wall time. A thread group may use more than 1.0 of it."""

    cpu_fraction: float
    run_delay_fraction: float | None
    resident_bytes: int


@dataclass(frozen=True)
class HostLoad:
    """The machine over an interval: fractions of the time of all CPUs, and every process seen at both ends."""

    wall_ns: int
    steal_fraction: float
    idle_fraction: float
    processes: Mapping[str, ProcessLoad]


def parse_cpu_times(text: str) -> CpuTimes:
    """First line of /proc/stat: user nice system idle iowait irq softirq steal guest guest_nice (proc(5)).

    Guest time is already in user time, so the total leaves it out. ValueError when the line is not there.
    """
    for line in text.splitlines():
        if line.startswith("cpu "):
            ticks = [int(field) for field in line.split()[1:9]]
            if len(ticks) < 8:
                raise ValueError(f"/proc/stat: {len(ticks)} figures for cpu, 8 expected")
            return CpuTimes(total_ticks=sum(ticks), idle_ticks=ticks[3] + ticks[4], steal_ticks=ticks[7])
    raise ValueError("/proc/stat: no line for all CPUs")


def parse_schedstat(text: str) -> tuple[int, int]:
    """(CPU time, run delay) in ns of one thread; ValueError when malformed."""
    fields = text.split()
    if len(fields) != 3:
        raise ValueError(f"schedstat: {len(fields)} figures, 3 expected")
    return int(fields[0]), int(fields[1])


def parse_resident_bytes(text: str, page_bytes: int) -> int:
    """/proc/<pid>/statm: the second figure is the resident set in pages; ValueError when malformed."""
    fields = text.split()
    if len(fields) < 2:
        raise ValueError("statm: resident set missing")
    return int(fields[1]) * page_bytes


def _read_process(proc: Path, pid: int, page_bytes: int) -> ProcessTimes | None:
    folder = proc / str(pid)
    cpu_ns = 0
    run_delay_ns: int | None = 0
    try:
        resident_bytes = parse_resident_bytes((folder / "statm").read_text(), page_bytes)
        threads = list((folder / "task").iterdir())
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        return None
    for thread in threads:
        try:
            thread_cpu_ns, thread_delay_ns = parse_schedstat((thread / "schedstat").read_text())
        except ProcessLookupError:
            continue
        except FileNotFoundError:
            # Either the thread has ended or the kernel has no schedstat; only then is the folder still there.
            if thread.exists():
                run_delay_ns = None
            continue
        cpu_ns += thread_cpu_ns
        if run_delay_ns is not None:
            run_delay_ns += thread_delay_ns
    return ProcessTimes(cpu_ns, run_delay_ns, resident_bytes)


def read_host(pids: Mapping[str, int], proc: Path = PROC) -> HostSample:
    """Sample the machine and the named processes. MachineError when /proc does not have the documented form."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    try:
        now_ns = time.monotonic_ns()
        cpu = parse_cpu_times((proc / "stat").read_text())
        found = {name: _read_process(proc, pid, page_bytes) for name, pid in pids.items()}
    except (OSError, ValueError) as error:
        raise MachineError(f"{proc}: cannot read CPU accounting ({error})") from error
    return HostSample(now_ns, cpu, {name: times for name, times in found.items() if times is not None})


def load_between(first: HostSample, last: HostSample) -> HostLoad:
    """What happened from `first` to `last`; ValueError when `last` is not later.

    A thread that ends takes its figures with it, so a difference below 0 counts as 0.
    """
    wall_ns = last.monotonic_ns - first.monotonic_ns
    if wall_ns <= 0:
        raise ValueError("the samples are not in order of time")
    ticks = last.cpu.total_ticks - first.cpu.total_ticks
    processes: dict[str, ProcessLoad] = {}
    for name, end in last.processes.items():
        start = first.processes.get(name)
        if start is None:
            continue
        delay = None
        if start.run_delay_ns is not None and end.run_delay_ns is not None:
            delay = max(0, end.run_delay_ns - start.run_delay_ns) / wall_ns
        processes[name] = ProcessLoad(max(0, end.cpu_ns - start.cpu_ns) / wall_ns, delay, end.resident_bytes)
    return HostLoad(
        wall_ns=wall_ns,
        steal_fraction=_fraction(last.cpu.steal_ticks - first.cpu.steal_ticks, ticks),
        idle_fraction=_fraction(last.cpu.idle_ticks - first.cpu.idle_ticks, ticks),
        processes=processes,
    )


def together(loads: Sequence[HostLoad]) -> HostLoad:
    """Several hosts as one that is judged by the worst of them; ValueError without any."""
    return HostLoad(
        wall_ns=max(load.wall_ns for load in loads),
        steal_fraction=max(load.steal_fraction for load in loads),
        idle_fraction=min(load.idle_fraction for load in loads),
        processes={name: of for load in loads for name, of in load.processes.items()},
    )


def _fraction(part: int, whole: int) -> float:
    # The kernel's idle and steal counters may step back by a tick.
    return min(1.0, max(0, part) / whole) if whole > 0 else 0.0
