"""Points written while a run goes on: each once, none lost, nothing torn, and at next to no cost."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.experiment.live_points import LivePoints
from harness.experiment.points import has_summary_point
from harness.experiment.sample_points import PointTags, Written, sample_points
from harness.experiment.sampling import LoadSlot, QueueSample, Series
from harness.measure.host import CpuTimes, HostSample, ProcessTimes
from harness.record.events import Event
from harness.record.rundir import Folder
from harness.testbed.counters import FabricCounters, LinkCounters

OF = PointTags("abcdefgh-01", "smoke", "statelet", 1_700_000_000_000_000_000)
MS = 1_000_000
PROCESSES = ("source", "destination", "loadgen", "echoserver", "latency")


def sampled(series: Series, at_ns: int, *, kernel: bool) -> None:
    """One look of the sampler at a whole testbed."""
    for node in ("source", "destination"):
        series.queues.append(QueueSample(node, at_ns, (at_ns % 7, 2), (0, 0), 3))
    series.load.append(LoadSlot(at_ns, 40, 38, 1, 38 * 11 * MS, 16 * MS, 2, 8192))
    if kernel:
        links = tuple(LinkCounters("fabric", f"link{n}", 1, 2, 0, 0, 3, 4, 0, 0) for n in range(14))
        series.fabric.append(FabricCounters(at_ns, at_ns + 9, links, ()))
        cpu = CpuTimes(total_ticks=at_ns // MS + 1, idle_ticks=at_ns // MS, steal_ticks=0)
        series.host.append(HostSample(at_ns, cpu, {name: ProcessTimes(at_ns, None, 4096) for name in PROCESSES}))


def event(number: int) -> Event:
    return Event(number * MS, OF.wall_minus_monotonic_ns + number * MS, f"phase{number}", "text")


def lines_of(folder: Path) -> list[str]:
    path = folder / "points.lp"
    return path.read_text().splitlines() if path.exists() else []


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def test_what_is_sampled_is_on_the_disk_soon_and_once(tmp_path: Path) -> None:
    series = Series()
    live = LivePoints(Folder(tmp_path), OF, lambda: series, 0.01)
    live.start()
    for number in range(12):
        live.hear(event(number))
        sampled(series, number * 100 * MS, kernel=number % 5 == 0)
        wait_until(lambda: live.written.events > number, "written while it goes on")  # noqa: B023
    assert not live._ending.is_set()
    live.hear(event(99))
    live.stop()
    everything, until = sample_points(OF, series, [*map(event, range(12)), event(99)], Written())
    assert live.written == until
    assert sorted(lines_of(tmp_path)) == sorted(everything)
    names = {line.split(",")[0] for line in everything}
    assert names == {"event", "live", "queue", "host", "link"}
    keys = [(line.split(" ")[0], line.rsplit(" ", 1)[1]) for line in everything]
    assert len(set(keys)) == len(keys), "two points with the same measurement, tags and time"
    rest, _ = sample_points(OF, series, [*map(event, range(12)), event(99), event(100)], live.written)
    assert [line.split(" ")[0] for line in rest] == [
        "event,mode=statelet,phase=phase100,profile=smoke,run_id=abcdefgh-01"
    ]


def test_the_load_is_told_as_it_was_counted() -> None:
    series = Series(load=[LoadSlot(5, 40, 0, 0, 0, 0, 7, 8192), LoadSlot(6, 40, 38, 1, 380, 16, 7, 8192)])
    (first, second), _ = sample_points(OF, series, [], Written())
    assert "rtt" not in first, "without a reply there is no RTT"
    assert "sent_bps=3276800.0" in first
    assert "lost_estimate_packets=7i" in first
    assert "rtt_mean_ns=10i,rtt_max_ns=16i" in second
    assert second.endswith(" 1700000000000000006")


def test_a_disk_that_fails_leaves_whole_lines_and_everything_else_for_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = Series()
    live = LivePoints(Folder(tmp_path), OF, lambda: series, 0.01)
    live.start()
    sampled(series, 0, kernel=True)
    wait_until(lambda: live.written.queues == 2, "the first points")
    whole = lines_of(tmp_path)

    failed = threading.Event()

    def full(descriptor: int) -> None:
        failed.set()
        os.truncate(tmp_path / "points.lp", (tmp_path / "points.lp").stat().st_size - 10)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.record.rundir.os.fsync", full)
    sampled(series, 100 * MS, kernel=True)
    assert failed.wait(20.0)
    live.stop()
    assert lines_of(tmp_path) == whole
    rest, _ = sample_points(OF, series, [], live.written)
    assert len(rest) == 6 + 1 + 14 + 1 + len(PROCESSES)


def test_a_second_of_a_run_costs_less_than_two_percent_of_a_core(tmp_path: Path) -> None:
    series = Series()
    live = LivePoints(Folder(tmp_path), OF, lambda: series)
    spent_ns = []
    for second in range(8):
        for tenth in range(10):
            sampled(series, (second * 10 + tenth) * 100 * MS, kernel=tenth % 5 == 0)
        live.hear(event(second))
        began_ns = time.thread_time_ns()
        live._write()
        spent_ns.append(time.thread_time_ns() - began_ns)
    assert live.written.queues == 160
    assert sorted(spent_ns)[4] < 20 * MS


def test_nobody_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk hangs: hearing and sampling go on."""
    hang, hanging = threading.Event(), threading.Event()

    def fsync(descriptor: int) -> None:
        hanging.set()
        hang.wait(20.0)

    monkeypatch.setattr("harness.record.rundir.os.fsync", fsync)
    series = Series()
    live = LivePoints(Folder(tmp_path), OF, lambda: series, 0.01)
    live.start()
    live.hear(event(0))
    assert hanging.wait(20.0)
    began = time.monotonic()
    for number in range(1000):
        live.hear(event(number + 1))
        sampled(series, number * MS, kernel=False)
    assert time.monotonic() - began < 5.0
    hang.set()
    live.stop()
    assert live.written.events == 1001


def test_the_end_of_the_points_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "points.lp"
    assert not has_summary_point(path)
    path.write_text("event,phase=run_summary x=1i 1\n")
    assert not has_summary_point(path)
    path.write_text("event,phase=x y=1i 1\nrun_summary,mode=x y=1i 1\n")
    assert has_summary_point(path)
