"""*Sweep history*: a point per run over days and months: what became of a figure, and whether runs were sound."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from dashboards.parts import WIDTH, base, lines, rows_panel
from dashboards.query import InfluxQl, over_time, rows
from harness.record.schema import SCHEMA, VERDICTS

CHARTS = {
    "rtt_late_s": "Seconds of RTT > 15 ms",
    "loss_s": "Seconds of loss",
    "migration_duration_ns": "Migration duration",
    "rtt_p99_ns": "RTT, 99th percentile",
    "received_bps": "Received load, both directions",
    "statelet_stream_bytes": "Statelet stream",
}
REGRESSIONS = ("migration_duration_ns", "rtt_p99_ns")
LISTED = ("validity", "outcome", "frame_bytes", "offered_bps", "loss_s", "rtt_late_s", "migration_duration_ns")


def sweep_history() -> dashboard.Dashboard:
    """Grouped by profile, mode and load; a point is the mean of the runs that started in one interval of the panel."""
    made = base(
        "Sweep history", "slim-sweep-history", "Figures of runs over days and months.", "now-90d", ("profile", "mode")
    )
    variables, groups, alias = ("profile", "mode"), ("profile", "mode", "load"), "$tag_profile $tag_mode $tag_load"
    units = {field.name: field.unit for field in SCHEMA["run_summary"].fields}
    for name, title in CHARTS.items():
        query = over_time("run_summary", {"mean": f'mean("{name}")'}, groups, variables)
        made = made.with_panel(lines(title, [InfluxQl(query, alias=alias)], units[name], dots=True))
    for name in REGRESSIONS:
        # InfluxQL has no running mean; sums over counts are one, from the first point on.
        so_far = f'cumulative_sum(sum("{name}")) / cumulative_sum(count("{name}"))'
        query = over_time("run_summary", {"change": f'mean("{name}") / ({so_far}) - 1'}, groups, variables)
        about = "Against the mean of all runs so far in the time range, these among them: above zero is worse."
        title = f"{CHARTS[name]}, change"
        made = made.with_panel(lines(title, [InfluxQl(query, alias=alias)], "1", about, dots=True, signed=True))
    verdicts = {verdict: f'sum("{verdict}")' for verdict in VERDICTS}
    query = over_time("run_summary", verdicts, groups, variables)
    made = made.with_panel(lines("Validity", [InfluxQl(query, alias=f"{alias} $col")], "runs", width=WIDTH, dots=True))
    counts = {
        "runs": 'count("frame_bytes")',
        "unexplained": 'sum("unexplained_packets")',
        "invariants broken or unknown": 'sum("invariants_checked") - sum("invariants_held")',
    }
    query = over_time("run_summary", counts, groups, variables)
    title = "Runs, packets lost without a named cause, invariants that do not hold"
    made = made.with_panel(lines(title, [InfluxQl(query, alias=f"{alias} $col")], "packets", width=WIDTH, dots=True))
    target = InfluxQl(rows("run_summary", ("run_id", "profile", "mode", *LISTED), variables), table=True)
    return made.with_panel(rows_panel("All runs", target, LISTED, keep_time=True, height=12))
