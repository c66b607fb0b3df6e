from __future__ import annotations

from pathlib import Path

from harness.experiment.points import run_points, series_of
from harness.experiment.run_record import RunRecord
from harness.experiment.sampling import QueueSample
from harness.experiment.summary import unusable
from harness.measure.host import CpuTimes, HostSample, ProcessTimes
from harness.measure.packets import PacketRecords
from harness.plan import PlannedRun, make_plan
from harness.record.events import Event
from harness.testbed.counters import FabricCounters, LinkCounters, QdiscCounters
from tests.experiment.conftest import ProfileFactory
from tests.measure.conftest import START_NS, make_records

SHIFT_NS = 1_700_000_000_000_000_000
"""UTC minus CLOCK_MONOTONIC."""
MS = 1_000_000


def records() -> PacketRecords:
    """300 packets 1 ms apart; number 150 is lost, number 151 late."""
    rtts: list[float | None] = [10.2] * 300
    rtts[150], rtts[151] = None, 40.0
    return make_records(rtts)


def record(planned: PlannedRun) -> RunRecord:
    made = RunRecord(planned, SHIFT_NS, SHIFT_NS, window_start_ns=START_NS + 50 * MS)
    made.series.queues.append(QueueSample("destination", START_NS + 7, (3, 4), (0, 1), 5))
    links = (
        LinkCounters("fabric", "source", 1, 100, 0, 0, 2, 200, 0, 0),
        LinkCounters("loadgen", "up0", 3, 300, 0, 0, 4, 400, 0, 0),
    )
    meter = QdiscCounters("fabric", "source", "tbf", 2, 200, 6, 0, 1, 512)
    made.series.fabric.append(FabricCounters(START_NS, START_NS + 9, links, (meter,)))
    for at_ns, ticks, cpu_ns in ((0, 1000, 0), (500 * MS, 1100, 100 * MS)):
        cpu = CpuTimes(total_ticks=ticks, idle_ticks=ticks // 2, steal_ticks=(ticks - 1000) // 10)
        times = {"source": ProcessTimes(cpu_ns, None, 4096)}
        made.series.host.append(HostSample(START_NS + at_ns, cpu, times))
    return made


def lines_of(make_profile: ProfileFactory, planned: PlannedRun) -> list[str]:
    profile = make_profile()
    run = record(planned)
    summary = unusable(SHIFT_NS, make_plan(profile), profile, planned, "abcdefgh-03", "no records", "FAILED")
    events = [Event(START_NS, START_NS + SHIFT_NS, "boot", 'said "so", twice', 12)]
    return run_points(summary, run, series_of(profile, run, records()), events)


def of(lines: list[str], measurement: str) -> list[str]:
    return [line for line in lines if line.startswith(f"{measurement},")]


def test_every_point_carries_the_run_and_its_time(make_profile: ProfileFactory, planned: PlannedRun) -> None:
    lines = lines_of(make_profile, planned)
    for line in lines:
        assert "mode=statelet" in line
        assert "profile=smoke" in line
        assert "run_id=abcdefgh-03" in line
        assert START_NS - 100 * MS <= int(line.rsplit(" ", 1)[1]) - SHIFT_NS <= START_NS + 500 * MS or line.startswith(
            "run_summary"
        )


def test_intervals_are_anchored_at_the_window(make_profile: ProfileFactory, planned: PlannedRun) -> None:
    traffic = of(lines_of(make_profile, planned), "traffic")
    times = [int(line.rsplit(" ", 1)[1]) - SHIFT_NS - START_NS for line in traffic]
    # The first packet is due 50 ms before the window: half an interval comes first. The late reply ends the last.
    assert times == [-50 * MS, 50 * MS, 150 * MS, 250 * MS]
    assert "intended_packets=50i" in traffic[0]
    assert "intended_packets=100i" in traffic[1]
    assert "lost_packets=0i" in traffic[1]
    assert "lost_packets=1i,late_packets=1i" in traffic[2]
    assert "rtt_max_ns=40000000i" in traffic[2]
    assert "rtt_le_50000us=1i" in traffic[2]
    assert "rtt_le_10500us=98i" in traffic[2]


def test_queues_links_and_host_are_told_by_node(make_profile: ProfileFactory, planned: PlannedRun) -> None:
    lines = lines_of(make_profile, planned)
    queues = of(lines, "queue")
    assert len(queues) == 3
    assert any("kind=pkt_q_interior," in q and "depth_packets=3i,overflow_packets=0i" in q for q in queues)
    assert any("kind=pkt_q_exterior," in q and "depth_packets=4i,overflow_packets=1i" in q for q in queues)
    assert any("kind=st_q_out," in q and " depth_packets=5i " in q for q in queues), "its overflow is not a depth"
    metered, free = of(lines, "link")
    assert "link=source" in metered
    assert "dropped_packets=6i,backlog_bytes=512i" in metered
    assert "dropped_packets" not in free, "a link without a meter drops nothing there: not measured is not 0"
    machine, process = of(lines, "host")
    assert "steal_fraction=0.1" in machine
    assert "idle_fraction=0.5" in machine
    assert "process=source" in process
    assert "cpu_fraction=0.2," in process
    assert "run_delay_fraction" not in process, "the kernel has no schedstat here"


def test_events_keep_their_text(make_profile: ProfileFactory, planned: PlannedRun) -> None:
    (event,) = of(lines_of(make_profile, planned), "event")
    assert 'text="said \\"so\\", twice",duration_ns=12i' in event
    assert ",phase=boot," in event


def test_a_run_without_records_still_has_its_summary(
    make_profile: ProfileFactory, planned: PlannedRun, tmp_path: Path
) -> None:
    (summary,) = of(lines_of(make_profile, planned), "run_summary")
    assert 'validity="FAILED"' in summary
    assert 'outcome="failed"' in summary
    assert "lost_packets" not in summary
