"""*Experiment*: the time line of chosen runs."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from dashboards.parts import base, lines, phases, rows_panel
from dashboards.query import InfluxQl, over_time, rows

FIGURES = (
    "validity",
    "outcome",
    "offered_bps",
    "received_bps",
    "lost_packets",
    "loss_s",
    "rtt_late_s",
    "rtt_p50_ns",
    "rtt_p99_ns",
    "rtt_max_ns",
    "migration_duration_ns",
    "downtime_ns",
    "statelet_stream_bytes",
    "unexplained_packets",
    "invariants_held",
    "invariants_checked",
)


def _while_it_runs(made: dashboard.Dashboard) -> dashboard.Dashboard:
    """What the load generator counts meanwhile; the exact figures follow when a run has ended."""
    run, alias = ("run_id", "mode"), "$tag_mode $tag_run_id $col"
    rates = {name: f'mean("{name}_bps")' for name in ("sent", "received")}
    made = made.with_panel(
        lines(
            "While it runs: sent and received rate",
            [InfluxQl(over_time("live", rates, run), alias=alias)],
            "bit/s",
            "By the time of sending and of arrival, both directions together; a second behind the run.",
        )
    )
    rtt = {"mean": 'mean("rtt_mean_ns")', "max": 'max("rtt_max_ns")'}
    return made.with_panel(
        lines(
            "While it runs: round-trip time",
            [InfluxQl(over_time("live", rtt, run), alias=alias)],
            "ns",
            "Of the replies that arrived, whenever they were due; the line is at 15 ms.",
            limit=15e6,
        )
    )


def experiment() -> dashboard.Dashboard:
    """Made from the measurements of each interval; the phases stand in every panel."""
    made = base(
        "Experiment", "slim-experiment", "The time line of single runs.", "now-6h", ("profile", "mode", "run")
    ).annotation(phases())
    made = made.refresh("5s")
    made = made.with_panel(
        rows_panel(
            "Runs",
            InfluxQl(rows("run_summary", ("run_id", "profile", "mode", *FIGURES)), table=True),
            FIGURES,
            keep_time=True,
        )
    )
    run = ("run_id", "mode")
    alias = "$tag_mode $tag_run_id $col"
    traffic = {"lost": 'sum("lost_packets")', "late": 'sum("late_packets")'}
    made = made.with_panel(
        lines(
            "Lost and late",
            [InfluxQl(over_time("traffic", traffic, run), alias=alias)],
            "packets",
            "Requests due in the interval that were never answered, or answered with RTT > 15 ms.",
        )
    )
    rtt = {name: f'max("rtt_{name}_ns")' for name in ("p50", "p99", "max")}
    made = made.with_panel(
        lines(
            "Round-trip time",
            [InfluxQl(over_time("traffic", rtt, run), alias=alias)],
            "ns",
            "From the intended send time; the line is at 15 ms.",
            limit=15e6,
        )
    )
    rates = {name: f'mean("{name}_bps")' for name in ("offered", "received")}
    made = made.with_panel(
        lines(
            "Offered and received rate",
            [InfluxQl(over_time("traffic", rates, run), alias=alias)],
            "bit/s",
            "Both directions together, as load.rate; received by the time of arrival.",
        )
    )
    made = _while_it_runs(made)
    made = made.with_panel(
        lines(
            "Queues",
            [
                InfluxQl(
                    over_time("queue", {"depth": 'max("depth_packets")'}, (*run, "node", "kind")),
                    alias="$tag_mode $tag_run_id $tag_node $tag_kind",
                )
            ],
            "packets",
            "Deepest in the interval: pkt_q of both ports, st_q_out.",
        )
    )
    for direction, title in (("rx", "received"), ("tx", "sent")):
        rate = {"rate": f'non_negative_derivative(max("{direction}_bytes"), 1s) * 8'}
        made = made.with_panel(
            lines(
                f"Links, {title}",
                [
                    InfluxQl(
                        over_time("link", rate, (*run, "node", "link")),
                        alias="$tag_mode $tag_run_id $tag_node $tag_link",
                    )
                ],
                "bit/s",
            )
        )
    for field, title in (("cpu_fraction", "CPU time"), ("run_delay_fraction", "Waiting for a CPU")):
        made = made.with_panel(
            lines(
                f"{title} of the processes",
                [
                    InfluxQl(
                        over_time("host", {"share": f'max("{field}")'}, (*run, "process")),
                        alias="$tag_mode $tag_run_id $tag_process",
                    )
                ],
                "1",
                "Per wall time; the tag is empty for what concerns the whole machine.",
            )
        )
    machine = {"idle": 'min("idle_fraction")', "steal": 'max("steal_fraction")'}
    return made.with_panel(
        lines("The machine", [InfluxQl(over_time("host", machine, run), alias=alias)], "1", "Of the time of all CPUs.")
    )
