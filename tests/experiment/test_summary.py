"""The summary of a run whose records, reports and counters are made by hand: 400 requests through the source alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.dataplane import engine_state as es
from harness.dataplane.status_page import read_status
from harness.experiment.collect import Reading
from harness.experiment.run_record import RunRecord
from harness.experiment.summary import summarise, unusable
from harness.measure.host import CpuTimes, HostSample, ProcessTimes
from harness.migration.outcome import MigrationOutcome
from harness.plan import PlannedRun, make_plan
from harness.record.rundir import Folder
from harness.record.summary import RunSummary, read_summary
from harness.testbed.counters import FabricCounters, LinkCounters
from tests.experiment.conftest import ProfileFactory
from tests.measure.conftest import START_NS, make_records

MS = 1_000_000
REQUESTS, WARM_UP = 400, 100
LOADGEN_ARRAYS = ("intended_ns", "sent_ns", "received_ns", "flow", "frame_bytes", "duplicates", "flow_reordered")
LOADGEN_ARRAYS += ("server_received_ns", "server_duplicates")
ECHOSERVER_ARRAYS = ("flow_external_ip", "flow_external_port", "flow_mapping_changes", "flow_packets")
ECHOSERVER_ARRAYS += ("server_sent_ns", "server_intended_ns", "server_flow")
CONTROL = PlannedRun(0, 0, "none", 1)


class Bench:
    """Files of a run; `delivered` replies came back, the VNF refused the rest."""

    def __init__(self, path: Path, lost: tuple[int, ...] = (), late: tuple[int, ...] = ()) -> None:
        self.folder = Folder(path)
        rtts: list[float | None] = [10.3 if i < WARM_UP else 10.6 for i in range(REQUESTS)]
        for number in late:
            rtts[number] = 30.0
        for number in lost:
            rtts[number] = None
        records = make_records(rtts, flow_packets=np.full(2, 190, np.uint64))
        for name, arrays in (("loadgen", LOADGEN_ARRAYS), ("echoserver", ECHOSERVER_ARRAYS)):
            np.savez(path / f"{name}.npz", **{array: getattr(records, array) for array in arrays})
        delivered = REQUESTS - len(lost)
        self.reports: dict[str, dict[str, Any]] = {
            "loadgen": {
                "sent_packets": REQUESTS,
                "received_frames": delivered,
                "echo_replies_packets": delivered,
                "echo_duplicates_packets": 0,
                "server_received_packets": 0,
                "server_duplicates_packets": 0,
                "arp_packets": 0,
                "kernel_dropped_packets": 0,
                "unsent_packets": 0,
                "send_lateness_ns": {"p50": 10_000, "p99": 200_000, "maximum": 900_000},
            },
            "echoserver": {
                "received_frames": delivered,
                "echoed_packets": delivered,
                "tx_failed_packets": 0,
                "server_sent_packets": 0,
                "arp_packets": 0,
                "kernel_dropped_packets": 0,
            },
        }
        self.page = np.zeros(es.STATUS_WORDS, np.int64)
        interior, exterior = es.PORTS_AT, es.PORTS_AT + es.PORT_WORDS
        self.page[interior + es.RX_IPV4] = REQUESTS
        self.page[exterior + es.TX_FRAMES] = self.page[exterior + es.RX_IPV4] = delivered
        self.page[interior + es.TX_FRAMES] = delivered
        self.page[es.REASONS_AT + 4] = len(lost)
        self.delivered = delivered

    def record(self, run: PlannedRun = CONTROL, **changes: Any) -> RunRecord:
        for title, report in self.reports.items():
            (self.folder.path / f"{title}.json").write_text(json.dumps(report))
        times = {"source": ProcessTimes(0, 0, 1 << 20)}
        cpu = CpuTimes(1000, 500, 0)
        record = RunRecord(
            run,
            started_wall_ns=1_700_000_000_000_000_000,
            window_start_ns=START_NS + WARM_UP * MS,
            before=self._reading(np.zeros(es.STATUS_WORDS, np.int64), 0, 0),
            after=self._reading(self.page, REQUESTS, self.delivered),
            host=[HostSample(0, cpu, times), HostSample(1000 * MS, replace(cpu, total_ticks=1100), times)],
            pages={"source": self.page},
        )
        return replace(record, **changes)

    def _reading(self, page: Any, requests: int, replies: int) -> Reading:
        links = tuple(
            LinkCounters(node, "up0", received, 0, 0, 0, sent, 0, 0, 0)
            for node, received, sent in (("loadgen", replies, requests), ("echoserver", replies, replies))
        )
        return Reading({"source": read_status(page, 2, {4: "no_port"})}, None, FabricCounters(0, 1, links, ()))


def summary_of(
    bench: Bench, make_profile: ProfileFactory, record: RunRecord, backend: str = "netem", *overrides: str
) -> RunSummary:
    times = ("timing.window=300ms", "timing.load_until=300ms", "timing.migrate_at=100ms")
    profile = make_profile("dataplane.verify=false", *times, *overrides)
    summary, packets = summarise(profile, make_plan(profile), record, bench.folder, "abcdefgh-01", backend)
    assert packets.packets == REQUESTS
    bench.folder.write_json("summary.json", summary)
    assert read_summary(bench.folder.file("summary.json"), RunSummary) == summary
    return summary


def test_a_clean_control_has_one_doubt_and_no_failure(tmp_path: Path, make_profile: ProfileFactory) -> None:
    bench = Bench(tmp_path)
    summary = summary_of(bench, make_profile, bench.record())
    assert summary.total is not None
    assert summary.window is not None
    assert (summary.total.intended_packets, summary.window.intended_packets) == (REQUESTS, REQUESTS - WARM_UP)
    assert summary.total.lost_packets == 0
    # Left out on request, and said so: doubt never makes a run VALID.
    assert summary.validity.verdict == "INVALID"
    assert summary.validity.reasons == ("state equals the reference: unknown (dataplane.verify is off)",)
    assert summary.migration.outcome == "none"
    verdicts = {invariant.name: invariant.verdict for invariant in summary.invariants}
    assert verdicts.pop("state equals the reference") == "unknown"
    assert set(verdicts.values()) == {"holds"}
    assert summary.started_utc == "2023-11-14T22:13:20+00:00"


def test_every_loss_is_in_its_row(tmp_path: Path, make_profile: ProfileFactory) -> None:
    bench = Bench(tmp_path, lost=(150, 151, 152), late=(200,))
    summary = summary_of(bench, make_profile, bench.record())
    assert summary.ledger is not None
    rows = {row.name: row for row in summary.ledger.rows}
    assert sum(row.echo_packets for row in summary.ledger.rows) == REQUESTS
    assert (rows["delivered"].echo_packets, rows["late"].echo_packets) == (REQUESTS - 4, 1)
    assert rows["vnf_refusal"].echo_packets == 3
    assert [(reason.name, reason.echo_packets) for reason in rows["vnf_refusal"].reasons] == [("no_port", 3)]
    assert rows["unexplained"].echo_packets == 0


def test_replies_in_a_wrong_cell_are_lost_with_the_grace_of_the_profile(
    tmp_path: Path, make_profile: ProfileFactory
) -> None:
    bench = Bench(tmp_path)
    with np.load(tmp_path / "loadgen.npz") as recorded:
        arrays = {name: recorded[name] for name in recorded.files}
    cell = np.full(REQUESTS, 9, np.uint16)
    reply_cell = cell.copy()
    reply_cell[[0, 150, 151]] = 8  # packet 0 comes back 10.3 ms after the attachment it announced
    cells = {"cell": cell, "announced": np.arange(REQUESTS) < 2, "reply_cell": reply_cell}
    np.savez(tmp_path / "loadgen.npz", **arrays, **cells, server_cell=np.zeros(0, np.uint16))
    grace = "load.subscribers.handover_grace=11ms"
    for overrides, wrong in (((), 3), ((grace,), 2)):
        summary = summary_of(bench, make_profile, bench.record(), "netem", *overrides)
        assert summary.total is not None
        assert (summary.total.lost_packets, summary.total.wrong_cell_packets) == (wrong, wrong)
        assert summary.ledger is not None
        rows = {row.name: row.echo_packets for row in summary.ledger.rows if row.echo_packets}
        assert rows == {"delivered": REQUESTS - wrong, "wrong_cell": wrong}
        verdicts = {invariant.name: invariant.verdict for invariant in summary.invariants}
        assert verdicts["every loss has a named cause"] == "holds"


def test_a_loss_nobody_counted_breaks_a_promise(tmp_path: Path, make_profile: ProfileFactory) -> None:
    bench = Bench(tmp_path, lost=(150,))
    bench.page[es.REASONS_AT + 4] = 0
    summary = summary_of(bench, make_profile, bench.record())
    assert summary.validity.verdict == "FAILED"
    assert summary.validity.reasons[0].startswith("every loss has a named cause: broken (unexplained 1")


def test_the_calibration_is_of_the_warm_up(tmp_path: Path, make_profile: ProfileFactory) -> None:
    bench = Bench(tmp_path)
    calibration = summary_of(bench, make_profile, bench.record()).calibration
    assert (calibration.base_rtt_median_ns, calibration.base_rtt_expected_ns) == (10_300_000, 10_000_000)
    assert calibration.latency_backend == "netem"
    without = summary_of(bench, make_profile, bench.record(), backend="none").calibration
    assert without.base_rtt_expected_ns is None, "no latency, nothing to calibrate"


@pytest.mark.parametrize(
    ("report", "key", "value", "reason"),
    [
        ("loadgen", "unsent_packets", 2, "generator left packets unsent: 2 packets"),
        ("loadgen", "unread_packets", 2, "2 packets came too late to be read; raise timing.wait_for_replies"),
        ("loadgen", "send_lateness_ns", None, "generator late, p99: not measured"),
        ("loadgen", "send_lateness_ns", {"p99": 6_000_000}, "generator late, p99: 6 ms, limit 5 ms"),
    ],
)
def test_a_generator_that_fell_short_makes_the_run_invalid(
    tmp_path: Path, make_profile: ProfileFactory, report: str, key: str, value: Any, reason: str
) -> None:
    bench = Bench(tmp_path)
    bench.reports[report][key] = value
    summary = summary_of(bench, make_profile, bench.record())
    assert summary.validity.verdict == "INVALID"
    assert any(text.startswith(reason) for text in summary.validity.reasons), summary.validity.reasons


def test_an_aborted_migration_fails_the_run_and_is_judged_by_the_source(
    tmp_path: Path, make_profile: ProfileFactory
) -> None:
    aborted = MigrationOutcome(
        outcome="aborted",
        reason="source: st_q_out ran over",
        epoch=1,
        mode="statelet",
        started_ns=START_NS + 200 * MS,
        ended_ns=START_NS + 210 * MS,
        phases=[],
        durations_ns={},
    )
    bench = Bench(tmp_path, lost=tuple(range(120, 140)))
    destination = np.zeros(es.STATUS_WORDS, np.int64)
    run = PlannedRun(0, 0, "statelet", 1)
    record = bench.record(run, outcome=aborted, pages={"source": bench.page, "destination": destination})
    summary = summary_of(bench, make_profile, record)
    assert summary.validity.verdict == "FAILED"
    assert summary.validity.reasons[0] == "migration aborted: source: st_q_out ran over"
    assert "statelet sequence contiguous" not in {invariant.name for invariant in summary.invariants}
    # The gap of 21 ms before the trigger is no downtime of the migration.
    assert summary.window is not None
    assert summary.window.longest_gap_ns == 21 * MS
    assert summary.migration.downtime_ns == 1 * MS


def test_a_destination_that_spoke_too_early_breaks_a_promise(tmp_path: Path, make_profile: ProfileFactory) -> None:
    completed = MigrationOutcome(
        outcome="completed",
        epoch=1,
        mode="statelet",
        started_ns=START_NS + 200 * MS,
        ended_ns=START_NS + 210 * MS,
        phases=[],
        durations_ns={},
    )
    bench = Bench(tmp_path)
    run = PlannedRun(0, 0, "statelet", 1)
    for activated_ns, first_ns, verdict in ((50, 60, "holds"), (50, 0, "holds"), (50, 40, "broken"), (0, 40, "broken")):
        destination = np.zeros(es.STATUS_WORDS, np.int64)
        destination[es.ACTIVATED_NS_AT], destination[es.FIRST_FORWARDED_NS_AT] = activated_ns, first_ns
        record = bench.record(run, outcome=completed, pages={"source": bench.page, "destination": destination})
        verdicts = {i.name: i.verdict for i in summary_of(bench, make_profile, record).invariants}
        assert verdicts["destination silent before it is active"] == verdict, (activated_ns, first_ns)
    bench.page[es.PORTS_AT + es.AFTER_DRAIN] = 1
    record = bench.record(run, outcome=completed, pages={"source": bench.page, "destination": destination})
    verdicts = {i.name: i.verdict for i in summary_of(bench, make_profile, record).invariants}
    assert verdicts["source silent after the drain"] == "broken"


@pytest.mark.parametrize(
    ("mode", "verdict", "outcome"),
    [("statelet", "FAILED", "failed"), ("none", "FAILED", "none"), ("statelet", "INVALID", "none")],
)
def test_a_run_without_records_is_kept_with_its_reason(
    make_profile: ProfileFactory, mode: str, verdict: Any, outcome: str
) -> None:
    profile = make_profile()
    run = PlannedRun(1, 2, mode, 1)
    summary = unusable(0, make_plan(profile), profile, run, "abcdefgh-02", "loadgen ended", verdict)
    assert (summary.validity.verdict, summary.validity.reasons) == (verdict, ("loadgen ended",))
    assert (summary.migration.outcome, summary.migration.reason) == (outcome, "loadgen ended")
    assert (summary.mode, summary.repetition) == (mode, 3)
    assert summary.window is None
