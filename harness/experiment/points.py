"""The points of a run at its end: what was not written while it went on, the traffic by interval, the summary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.experiment.run_record import RunRecord
from harness.experiment.sample_points import PointTags, sample_points
from harness.measure.packets import PacketRecords
from harness.measure.series import TrafficSeries, traffic_columns, traffic_series
from harness.profile.model import Profile
from harness.record.events import Event
from harness.record.lineprotocol import format_columns, format_point
from harness.record.points import run_summary_fields
from harness.record.summary import RunSummary
from harness.units import format_rate


def series_of(profile: Profile, record: RunRecord, packets: PacketRecords) -> TrafficSeries:
    """The traffic of a run in the profile's intervals, one of which begins with the window."""
    return traffic_series(
        packets,
        start_ns=record.window_start_ns,
        interval_ns=profile.timing.interval_ns,
        late_ns=profile.timing.late_ns,
    )


def run_points(
    summary: RunSummary,
    record: RunRecord,
    series: TrafficSeries | None,
    events: Sequence[Event],
) -> list[str]:
    """The lines of one run that are not written yet; timestamps are UTC ns. series: None where no load of ours was
    sent."""
    of = PointTags(summary.run_id, summary.profile, summary.mode, record.wall_minus_monotonic_ns)
    lines, _ = sample_points(of, record.series, events, record.written)
    if series is not None:
        times_ns = [at + record.wall_minus_monotonic_ns for at in series.start_ns.tolist()]
        lines += format_columns("traffic", of.tags(), traffic_columns(series, summary.load.frame_bytes), times_ns)
    return [*lines, summary_point(summary, record.started_wall_ns)]


def has_summary_point(path: Path) -> bool:
    """Whether a run's points have their end; those of a run that ended otherwise are still to get it."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        return any(line.startswith(b"run_summary,") for line in file)


def summary_point(summary: RunSummary, started_wall_ns: int) -> str:
    """The line of a run's summary; the only one of a run that ended without records."""
    tags = {"run_id": summary.run_id, "profile": summary.profile, "mode": summary.mode}
    tags["load"] = format_rate(summary.load.offered_bps)
    return format_point("run_summary", tags, run_summary_fields(summary), started_wall_ns)
