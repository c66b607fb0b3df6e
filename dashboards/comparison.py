"""*Comparison*: the modes side by side over all chosen runs."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from dashboards.parts import LOAD, bars, base, over_load, rows_panel
from dashboards.query import InfluxQl, by_tag, rows
from harness.record.schema import RTT_BUCKETS, RTT_EDGES_US, SCHEMA

MEANS = (
    "loss_s",
    "rtt_late_s",
    "lossy_intervals_s",
    "rtt_p50_ns",
    "rtt_p99_ns",
    "rtt_max_ns",
    "migration_duration_ns",
    "downtime_ns",
    "snapshot_bytes",
    "statelet_stream_bytes",
    "pkt_q_max_packets",
)
CHARTS = {
    "loss_s": "Seconds of loss",
    "rtt_late_s": "Seconds of RTT > 15 ms",
    "migration_duration_ns": "Migration duration",
    "rtt_p99_ns": "RTT, 99th percentile",
    "statelet_stream_bytes": "Statelet stream",
    "pkt_q_max_packets": "Deepest pkt_q",
}
BARS = ("loss_s", "rtt_late_s", "migration_duration_ns")


def comparison() -> dashboard.Dashboard:
    """Every figure over the load, a point per run; bars with the smallest and the largest beside the mean, because the
    mean of a few runs says little by itself.
    """
    made = base("Comparison", "slim-comparison", "The modes side by side.", "now-30d", ("profile", "mode", "run"))
    columns = {"runs": 'count("frame_bytes")', "unexplained_packets": 'sum("unexplained_packets")'}
    columns |= {name: f'mean("{name}")' for name in MEANS}
    target = InfluxQl(by_tag("run_summary", columns, ("profile", "mode")), table=True)
    made = made.with_panel(rows_panel("Means of the runs", target, MEANS, keep_time=False))
    units = {field.name: field.unit for field in SCHEMA["run_summary"].fields}
    for name, title in CHARTS.items():
        target = InfluxQl(rows("run_summary", ("mode", LOAD, name)), table=True)
        about = "A point per run over the load it was offered, both directions together."
        made = made.with_panel(over_load(f"{title} over load", target, units[name], about))
    for name in BARS:
        figures = {what: f'{what}("{name}")' for what in ("min", "mean", "max")}
        target = InfluxQl(by_tag("run_summary", figures, ("mode",)), table=True)
        made = made.with_panel(bars(CHARTS[name], target, units[name], "Smallest, mean and largest of the runs."))
    labels = [f"<= {edge / 1000:g} ms" for edge in RTT_EDGES_US] + [f"> {RTT_EDGES_US[-1] / 1000:g} ms"]
    buckets = {label: f'sum("{name}")' for label, name in zip(labels, RTT_BUCKETS, strict=True)}
    target = InfluxQl(by_tag("traffic", buckets, ("mode",)), table=True)
    return made.with_panel(
        bars(
            "Round-trip times",
            target,
            "packets",
            "Replies of all runs above the edge before, up to this one.",
            width=24,
        )
    )
