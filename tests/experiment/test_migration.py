from __future__ import annotations

from typing import Any

import pytest

from harness.experiment.migration import (
    encrypts,
    make_run_parties,
    migration_settings,
    migration_summary,
    statelet_counters,
)
from harness.measure.invariants import statelets_contiguous
from harness.migration.messages import DestinationCounts, SourceCounts
from harness.migration.outcome import MigrationOutcome, Switchover
from harness.plan import PlannedRun
from harness.record.summary import PortDepths
from harness.testbed.placement import Placement
from tests.experiment.conftest import ProfileFactory

TOKEN = bytes(range(16))


def outcome(**changes: Any) -> MigrationOutcome:
    values: dict[str, Any] = {
        "outcome": "completed",
        "epoch": 1,
        "mode": "statelet",
        "started_ns": 1000,
        "ended_ns": 9000,
        "phases": [],
        "durations_ns": {"prepare": 10, "snapshot": 20},
        "switchover": Switchover(started_ns=5000, ended_ns=5070),
        "source": SourceCounts(statelets_sent=12),
        "destination": DestinationCounts(
            statelets_received=12,
            statelets_installed=12,
            first_sequence=0,
            last_sequence=11,
            snapshot_bytes=500,
            filler_bytes=400,
            statelet_bytes=300,
            st_q_in_max_packets=7,
            st_q_in_max_bytes=170,
            duration_ns=4000,
        ),
    }
    return MigrationOutcome(**{**values, **changes})


def test_the_controller_is_told_what_the_profile_says(make_profile: ProfileFactory, planned: PlannedRun) -> None:
    deadlines = {"connect": 1, "snapshot": 2, "resynchronise": 3, "switchover": 4, "drain": 5, "finish": 6}
    profile = make_profile(
        *(f"migration.deadlines.{name}={seconds}s" for name, seconds in deadlines.items()),
        "migration.filler=3MiB",
        "migration.seed=9",
        "migration.snapshot_rate=50Mbit",
    )
    settings = migration_settings(profile, planned, TOKEN, epoch=4)
    found = settings.deadlines
    assert [found.connect_ns, found.snapshot_ns, found.resync_ns, found.switchover_ns, found.drain_ns] == [
        seconds * 1_000_000_000 for seconds in (1, 2, 3, 4, 5)
    ]
    assert found.finish_ns == 6_000_000_000
    assert (settings.mode, settings.epoch) == ("statelet", 4)
    assert (settings.filler_bytes, settings.filler_seed) == (3 << 20, 9)
    assert settings.snapshot_rate_bps == 50_000_000
    assert settings.destination_address == "192.0.2.12"
    assert settings.drain_token == TOKEN
    assert TOKEN.hex() not in repr(settings)
    assert repr(TOKEN) not in repr(settings)


def test_an_unlimited_snapshot_is_not_paced(make_profile: ProfileFactory, planned: PlannedRun) -> None:
    assert migration_settings(make_profile("migration.snapshot_rate=unlimited"), planned, TOKEN).snapshot_rate_bps == 0


def test_the_auto_rate_is_nine_tenths_of_what_the_load_leaves(
    make_profile: ProfileFactory, planned: PlannedRun
) -> None:
    profile = make_profile("load.rate=600M", "load.server_packets_per_s=0", "uplink.rate=1Gbit")
    assert migration_settings(profile, planned, TOKEN).snapshot_rate_bps == 360_000_000


def test_statelets_are_counted_at_every_station() -> None:
    counters = statelet_counters(outcome(), announced=12)
    assert counters is not None
    assert (counters.announced, counters.sent, counters.received, counters.installed) == (12, 12, 12, 12)
    assert (counters.first_sequence, counters.last_sequence) == (0, 11)
    assert statelets_contiguous(counters).verdict == "holds"
    assert statelets_contiguous(statelet_counters(outcome(), announced=13)).verdict == "broken"


def test_no_statelet_is_no_sequence() -> None:
    idle = outcome(source=SourceCounts(), destination=DestinationCounts())
    counters = statelet_counters(idle, announced=0)
    assert counters is not None
    assert (counters.first_sequence, counters.last_sequence) == (None, None)
    assert statelets_contiguous(counters).verdict == "holds"


@pytest.mark.parametrize("silent", ["source", "destination"])
def test_a_side_that_did_not_report_is_doubt(silent: str) -> None:
    counters = statelet_counters(outcome(**{silent: None}), announced=12)
    assert counters is None
    assert statelets_contiguous(counters).verdict == "unknown"


def test_the_summary_of_a_completed_migration() -> None:
    summary = migration_summary(outcome(), PortDepths(interior=3, exterior=4), 55, 6_000_000)
    assert (summary.outcome, summary.reason) == ("completed", "")
    assert (summary.duration_ns, summary.trigger_ns, summary.switchover_duration_ns) == (4000, 1000, 70)
    assert summary.phases == {"prepare": 10, "snapshot": 20}
    assert (summary.snapshot_bytes, summary.filler_bytes, summary.statelet_stream_bytes) == (500, 400, 300)
    assert (summary.statelets, summary.st_q_in_max_packets, summary.st_q_in_max_bytes) == (12, 7, 170)
    assert (summary.pkt_q_max_packets.interior, summary.pkt_q_max_packets.exterior) == (3, 4)
    assert (summary.st_q_out_max_packets, summary.downtime_ns) == (55, 6_000_000)


def test_what_an_abort_did_not_reach_is_not_measured() -> None:
    aborted = outcome(outcome="aborted", reason="destination: gone", switchover=None, source=None, destination=None)
    summary = migration_summary(aborted, PortDepths(), 64, None)
    assert (summary.outcome, summary.reason) == ("aborted", "destination: gone")
    assert summary.duration_ns is None
    assert summary.switchover_duration_ns is None
    assert summary.statelets is None
    assert summary.snapshot_bytes is None


def test_a_control_run_has_no_migration() -> None:
    summary = migration_summary(None, PortDepths(), 0, None)
    assert summary.outcome == "none"
    assert summary.duration_ns is None
    assert summary.st_q_out_max_packets is None


@pytest.mark.parametrize(
    ("wish", "far", "expected"),
    [
        ("auto", "", False),
        ("auto", "destination", True),
        ("auto", "fabric", True),
        ("auto", "loadgen", False),
        ("tls", "", True),
        ("none", "destination", False),
    ],
)
def test_what_leaves_the_host_is_encrypted_unless_told_otherwise(
    make_profile: ProfileFactory, wish: str, far: str, expected: bool
) -> None:
    placement = Placement({far: "there"} if far else {})
    assert encrypts(make_profile(f"migration.encryption={wish}"), placement) is expected


def test_every_run_has_keys_of_its_own(make_profile: ProfileFactory) -> None:
    first, second = make_run_parties(make_profile()), make_run_parties(make_profile())
    assert set(first) == {"controller", "source", "destination"}
    keys = [party.key for parties in (first, second) for party in parties.values()]
    assert len(set(keys)) == 6
    assert set(first["source"].peers) == {"controller", "destination"}


def test_the_summary_says_whether_the_streams_were_encrypted() -> None:
    counts = DestinationCounts(snapshot_wire_bytes=600, statelet_wire_bytes=400, refused_connections=2)
    summary = migration_summary(outcome(destination=counts), PortDepths(), 0, None, "tls", 3)
    assert (summary.encryption, summary.wire_bytes, summary.refused_connections) == ("tls", 1000, 5)
    assert migration_summary(None, PortDepths(), 0, None, "none").encryption == "none"
