"""Points that are made from a run's summary."""

from __future__ import annotations

from harness.record.lineprotocol import Value
from harness.record.schema import VERDICTS
from harness.record.summary import RunSummary


def run_summary_fields(summary: RunSummary) -> dict[str, Value]:
    """Fields of the measurement `run_summary`; None where the run did not measure."""
    window, migration = summary.window, summary.migration
    fields: dict[str, Value] = {
        "validity": summary.validity.verdict,
        **{verdict: int(summary.validity.verdict == verdict.upper()) for verdict in VERDICTS},
        "outcome": migration.outcome,
        "frame_bytes": summary.load.frame_bytes,
        "unexplained_packets": unexplained_packets(summary),
        "migration_duration_ns": migration.duration_ns,
        "downtime_ns": migration.downtime_ns,
        "snapshot_bytes": migration.snapshot_bytes,
        "statelet_stream_bytes": migration.statelet_stream_bytes,
        "statelets": migration.statelets,
        "pkt_q_max_packets": deepest_pkt_q(summary),
        "st_q_out_max_packets": migration.st_q_out_max_packets,
        "st_q_in_max_packets": migration.st_q_in_max_packets,
        "invariants_held": sum(i.verdict == "holds" for i in summary.invariants),
        "invariants_checked": len(summary.invariants),
    }
    if window is not None:
        fields |= {
            "offered_bps": window.offered_bps,
            "received_bps": window.received_bps,
            "intended_packets": window.intended_packets,
            "lost_packets": window.lost_packets,
            "wrong_cell_packets": window.wrong_cell_packets,
            "late_packets": window.late_packets,
            "loss_s": window.loss_s,
            "rtt_late_s": window.rtt_late_s,
            "lossy_intervals_s": window.lossy_intervals_s,
            "longest_gap_ns": window.longest_gap_ns,
            "rtt_p50_ns": window.rtt_p50_ns,
            "rtt_p99_ns": window.rtt_p99_ns,
            "rtt_max_ns": window.rtt_max_ns,
            "largest_bin_mean_rtt_ns": window.largest_bin_mean_rtt_ns,
        }
    return fields


def deepest_pkt_q(summary: RunSummary) -> int | None:
    """The larger of the two ports' largest depths; None when neither was measured."""
    depths = summary.migration.pkt_q_max_packets
    known = [depth for depth in (depths.interior, depths.exterior) if depth is not None]
    return max(known) if known else None


def unexplained_packets(summary: RunSummary) -> int | None:
    """Both columns of the ledger's row `unexplained`; None without a ledger."""
    if summary.ledger is None:
        return None
    rows = [row for row in summary.ledger.rows if row.name == "unexplained"]
    return rows[0].echo_packets + rows[0].server_packets if rows else None
