from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MachineError
from harness.measure.host import (
    CpuTimes,
    HostSample,
    ProcessTimes,
    load_between,
    parse_cpu_times,
    parse_resident_bytes,
    parse_schedstat,
    read_host,
)

STAT = "cpu  100 1 50 800 40 2 7 10 90 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n"


def test_cpu_times_by_hand() -> None:
    assert parse_cpu_times(STAT) == CpuTimes(total_ticks=1010, idle_ticks=840, steal_ticks=10)


@given(st.text(max_size=60))
def test_foreign_text_is_refused(text: str) -> None:
    for parse in (parse_cpu_times, parse_schedstat, lambda value: parse_resident_bytes(value, 4096)):
        try:
            parse(text)
        except ValueError:
            continue


def write_process(proc: Path, pid: int, threads: dict[int, str | None]) -> None:
    for thread, schedstat in threads.items():
        folder = proc / str(pid) / "task" / str(thread)
        folder.mkdir(parents=True)
        if schedstat is not None:
            (folder / "schedstat").write_text(schedstat)
    (proc / str(pid) / "statm").write_text("900 25 3 1 0 4 0\n")


def test_threads_are_summed(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text(STAT)
    write_process(tmp_path, 7, {7: "1000 50 3\n", 8: "500 25 1\n"})
    sample = read_host({"source": 7, "gone": 9}, tmp_path)
    page = os.sysconf("SC_PAGE_SIZE")
    assert sample.processes == {"source": ProcessTimes(1500, 75, 25 * page)}


def test_kernel_without_schedstat_is_unknown_not_zero(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text(STAT)
    write_process(tmp_path, 7, {7: None})
    assert read_host({"source": 7}, tmp_path).processes["source"].run_delay_ns is None


def test_strange_proc_is_a_machine_error(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("nothing\n")
    with pytest.raises(MachineError):
        read_host({}, tmp_path)


def test_load_between_by_hand() -> None:
    first = HostSample(0, CpuTimes(1000, 500, 10), {"a": ProcessTimes(100, 10, 1), "b": ProcessTimes(9, None, 1)})
    last = HostSample(
        1000,
        CpuTimes(1100, 540, 15),
        {"a": ProcessTimes(600, 60, 2), "b": ProcessTimes(4, None, 1), "new": ProcessTimes(1, 1, 1)},
    )
    load = load_between(first, last)
    assert (load.steal_fraction, load.idle_fraction, load.wall_ns) == (0.05, 0.4, 1000)
    assert (load.processes["a"].cpu_fraction, load.processes["a"].run_delay_fraction) == (0.5, 0.05)
    assert (load.processes["b"].cpu_fraction, load.processes["b"].run_delay_fraction) == (0.0, None)
    assert "new" not in load.processes
    with pytest.raises(ValueError, match="order"):
        load_between(last, first)


def test_reads_this_process() -> None:
    sample = read_host({"test": os.getpid()})
    assert sample.processes["test"].cpu_ns > 0
    assert sample.processes["test"].resident_bytes > 1 << 20
    assert sample.cpu.total_ticks > sample.cpu.idle_ticks
