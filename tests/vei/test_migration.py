"""Whole migrations between two real instances on loopback, with traffic: complete ones, and every way to fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.dataplane.instance import InstanceSettings
from harness.migration.phases import CONTROLLER_TRANSITIONS, ControllerPhase
from tests.vei.bench import QUICK, Pair, ProxiedChannel, wait_until
from tests.vei.proxy import Fault, clean, cut_at, flip_at, stall_at

HANDSHAKE_BYTES = 26 + 32


def assert_lossless(pair: Pair) -> None:
    """Every frame left exactly once and in order, and the owner's state is that of all of them."""
    pair.traffic.finish()
    for port in (0, 1):
        missing = sorted(set(range(pair.traffic.sent[port])) - set(pair.traffic.left[port]))
        assert not missing, (pair.source.instance.status()["ports"], pair.destination.instance.status()["ports"])
        assert pair.traffic.left[port] == list(range(pair.traffic.sent[port]))
    assert pair.fabric.nodes[pair.fabric.owner].flows() == pair.traffic.expected_flows()
    assert min(pair.traffic.sent) > 100


@pytest.mark.parametrize("mode", ["statelet", "duplication"])
def test_a_complete_migration_loses_nothing(pair: Pair, mode: str) -> None:
    outcome = pair.migrate(mode=mode)
    assert (outcome.outcome, outcome.reason) == ("completed", "")
    before = len(pair.traffic.left[0])
    wait_until(lambda: len(pair.traffic.left[0]) > before + 100, "traffic after the migration")
    assert_lossless(pair)
    assert (pair.source.phase(), pair.destination.phase()) == ("closed", "live")
    source, destination = outcome.source, outcome.destination
    assert source is not None
    assert destination is not None
    assert source.statelets_sent == destination.statelets_received == destination.statelets_installed > 0
    assert (destination.first_sequence, destination.last_sequence) == (0, source.statelets_sent - 1)
    assert source.snapshot_records == destination.snapshot_records == 51
    assert source.filler_bytes == destination.filler_bytes == 300_000
    assert source.snapshot_bytes == destination.snapshot_bytes > 300_000
    assert source.statelet_bytes == destination.statelet_bytes
    # The paced snapshot bounds the duration from below: 300 kB at 16 Mbit/s are 150 ms, some of it a first burst.
    assert outcome.migration_duration_ns == destination.duration_ns > 75_000_000
    assert destination.redirect_ns <= (outcome.switchover.started_ns if outcome.switchover else 0)
    assert outcome.switchover is not None
    assert outcome.switchover.ended_ns <= min(outcome.drain_first_ns, *source.drained_ns)


@pytest.fixture
def encrypted() -> Iterator[Pair]:
    made = Pair(encrypted=True)
    made.traffic.start()
    wait_until(lambda: len(made.traffic.left[0]) > 200, "traffic before the migration")
    yield made
    made.close()


@pytest.mark.parametrize("mode", ["statelet", "duplication"])
def test_an_encrypted_migration_loses_nothing(encrypted: Pair, mode: str) -> None:
    outcome = encrypted.migrate(mode=mode)
    assert (outcome.outcome, outcome.reason) == ("completed", "")
    assert_lossless(encrypted)
    there = outcome.destination
    assert there is not None
    # A record of TLS 1.3 is 22 bytes longer than what it holds; certificates come once for each stream.
    of_tls = there.snapshot_wire_bytes - there.snapshot_bytes
    assert 500 < of_tls < 0.01 * there.snapshot_bytes + 5_000
    assert outcome.migration_duration_ns > 75_000_000  # it is paced


@pytest.mark.parametrize("at", [30, 5_000, 100_000])
def test_an_encrypted_stream_that_is_cut_or_altered_aborts_without_loss(encrypted: Pair, at: int) -> None:
    for epoch, fault in ((1, cut_at(at)), (2, flip_at(at))):
        channel = ProxiedChannel(encrypted.destination.channel, encrypted.destination.address, None, fault)
        outcome = encrypted.migrate(channel, epoch=epoch)
        channel.close_proxies()
        assert outcome.outcome == "aborted", outcome.reason
        assert encrypted.destination.flows() == {}
    assert encrypted.migrate(epoch=3).outcome == "completed"
    assert_lossless(encrypted)


def test_every_phase_is_journaled_in_order(pair: Pair) -> None:
    pair.migrate()
    phases = [event.phase for event in pair.journal if event.node == "controller"]
    expected = [phase.value for phase in ControllerPhase if phase not in (ControllerPhase.IDLE,)]
    assert phases == expected[: expected.index("completed") + 1]
    times = [event.monotonic_ns for event in pair.journal if event.node == "controller"]
    assert times == sorted(times)
    assert [event.phase for event in pair.journal if event.node == "source"] == [
        "connect",
        "snapshot",
        "resynchronise",
        "committed",
        "drained",
        "closed",
    ]
    assert [event.phase for event in pair.journal if event.node == "destination"] == [
        "prepared",
        "receive_snapshot",
        "install",
        "buffering",
        "drain_pkt_q",
        "live",
    ]
    assert set(phases) <= {phase.value for phase in CONTROLLER_TRANSITIONS}


def test_lost_drain_packets_are_repeated(pair: Pair) -> None:
    pair.fabric.drop_drains = 7
    outcome = pair.migrate(filler_bytes=0)
    assert outcome.outcome == "completed"
    assert outcome.drain_packets > 7
    assert_lossless(pair)


STATELET_FAULTS = {
    "cut in the authentication": cut_at(30),
    "cut after the authentication": cut_at(HANDSHAKE_BYTES + 1),
    "cut in a segment": cut_at(HANDSHAKE_BYTES + 2_000),
    "flipped magic": flip_at(HANDSHAKE_BYTES + 1),
    "flipped count": flip_at(HANDSHAKE_BYTES + 3),
    "flipped length": flip_at(HANDSHAKE_BYTES + 7),
    "flipped sequence": flip_at(HANDSHAKE_BYTES + 15),
    "flipped CRC": flip_at(HANDSHAKE_BYTES + 17),
    "flipped statelet": flip_at(HANDSHAKE_BYTES + 26),
    "flipped nonce": flip_at(20),
    "flipped proof": flip_at(40),
    "flipped epoch": flip_at(9),
}
SNAPSHOT_FAULTS = {
    "cut in the authentication": cut_at(30),
    "cut in the header": cut_at(HANDSHAKE_BYTES + 50),
    "cut in the records": cut_at(HANDSHAKE_BYTES + 700),
    "cut in the filler": cut_at(HANDSHAKE_BYTES + 100_000),
    "flipped record": flip_at(HANDSHAKE_BYTES + 700),
    "flipped filler": flip_at(HANDSHAKE_BYTES + 100_000),
    "flipped proof": flip_at(40),
}
FAULTS = [pytest.param(fault, None, id=f"statelet: {name}") for name, fault in STATELET_FAULTS.items()] + [
    pytest.param(None, fault, id=f"snapshot: {name}") for name, fault in SNAPSHOT_FAULTS.items()
]


@pytest.fixture
def proxied(pair: Pair) -> Iterator[list[ProxiedChannel]]:
    channels: list[ProxiedChannel] = []
    yield channels
    for channel in channels:
        channel.close_proxies()


@pytest.mark.parametrize(("statelet", "snapshot"), FAULTS)
def test_a_broken_stream_aborts_without_loss_and_a_retry_works(
    pair: Pair, proxied: list[ProxiedChannel], statelet: Fault | None, snapshot: Fault | None
) -> None:
    proxied.append(ProxiedChannel(pair.destination.channel, pair.destination.address, statelet, snapshot))
    outcome = pair.migrate(proxied[0])
    assert outcome.outcome == "aborted", outcome.reason
    assert outcome.reason
    assert pair.fabric.owner == "source"
    assert (pair.source.phase(), pair.destination.phase()) == ("live", "standby")
    assert pair.destination.flows() == {}
    retry = pair.migrate(epoch=2, filler_bytes=0)
    assert retry.outcome == "completed", retry.reason
    assert_lossless(pair)


@pytest.mark.parametrize(
    ("statelet", "snapshot"),
    [
        pytest.param(clean, stall_at(HANDSHAKE_BYTES + 5_000), id="snapshot stops coming"),
        pytest.param(stall_at(10), clean, id="authentication stops"),
    ],
)
def test_a_deadline_aborts_without_loss(
    pair: Pair, proxied: list[ProxiedChannel], statelet: Fault, snapshot: Fault
) -> None:
    deadlines = replace(QUICK, connect_ns=400_000_000, snapshot_ns=400_000_000)
    proxied.append(ProxiedChannel(pair.destination.channel, pair.destination.address, statelet, snapshot))
    outcome = pair.migrate(proxied[0], deadlines=deadlines)
    assert outcome.outcome == "aborted"
    assert "within 0.4 s" in outcome.reason
    assert pair.migrate(epoch=2, deadlines=QUICK).outcome == "completed"
    assert_lossless(pair)


def test_nobody_listening_aborts_without_loss(pair: Pair) -> None:
    class Elsewhere(ProxiedChannel):
        def request(self, message, expected, deadline):  # type: ignore[no-untyped-def]
            answer = super().request(message, expected, deadline)
            return answer.model_copy(update={"statelet_port": 1}) if hasattr(answer, "statelet_port") else answer

    outcome = pair.migrate(Elsewhere(pair.destination.channel, pair.destination.address, None, None))
    assert outcome.outcome == "aborted"
    assert "cannot connect to 127.0.0.12:1 (Connection refused)" in outcome.reason
    assert pair.migrate(epoch=2).outcome == "completed"
    assert_lossless(pair)


def test_overflow_of_st_q_out_before_the_commit_aborts_without_loss() -> None:
    pair = Pair(settings=InstanceSettings(scheduler="other", st_q_out_packets=1))
    pair.traffic.start()
    wait_until(lambda: len(pair.traffic.left[0]) > 200, "traffic before the migration")
    try:
        # The snapshot takes a second, in which two packets come between two looks of the sender many times.
        outcome = pair.migrate(filler_bytes=2_000_000)
        assert outcome.outcome == "aborted", outcome.reason
        assert "st_q_out ran over" in outcome.reason
        assert_lossless(pair)
    finally:
        pair.close()


def test_steering_that_fails_is_taken_back(pair: Pair) -> None:
    pair.fabric.refuse = {"destination"}
    outcome = pair.migrate()
    assert outcome.outcome == "aborted"
    assert "steering failed" in outcome.reason
    assert (pair.source.phase(), pair.destination.phase()) == ("live", "standby")
    pair.fabric.refuse = set()
    assert pair.migrate(epoch=2).outcome == "completed"
    assert_lossless(pair)


def test_steering_that_fails_both_ways_is_a_failure(pair: Pair) -> None:
    pair.fabric.refuse = {"source", "destination"}
    outcome = pair.migrate()
    assert outcome.outcome == "failed"
    assert any("owner is unknown" in line for line in outcome.lost)


def test_a_stream_cut_after_the_switchover_is_a_failure_that_says_what_is_lost(
    pair: Pair, proxied: list[ProxiedChannel]
) -> None:
    channel = ProxiedChannel(pair.destination.channel, pair.destination.address, clean, None)
    proxied.append(channel)
    pair.fabric.on_steer = lambda: channel.proxies[0].cut()
    pair.fabric.drop_drains = 1_000_000
    outcome = pair.migrate(channel)
    assert outcome.outcome == "failed"
    assert outcome.phases[-1].phase == "failed"
    assert any("pkt_q" in line for line in outcome.lost)


def test_drain_packets_that_never_arrive_are_a_failure_in_time(pair: Pair) -> None:
    pair.fabric.drop_drains = 1_000_000
    outcome = pair.migrate(deadlines=replace(QUICK, drain_ns=300_000_000))
    assert outcome.outcome == "failed"
    assert "drain packet on both ports of the source: did not happen within 0.3 s" in outcome.reason


def test_an_unknown_mode_is_refused_and_nothing_changes(pair: Pair) -> None:
    outcome = pair.migrate(mode="teleport")
    assert outcome.outcome == "aborted"
    assert "unknown resynchronisation mode 'teleport': one of duplication, statelet" in outcome.reason
    assert pair.migrate(mode="statelet", epoch=1).outcome == "completed"
    assert_lossless(pair)


def test_many_attempts_alternate_with_aborts(pair: Pair, proxied: list[ProxiedChannel]) -> None:
    for epoch in range(1, 6):
        fault = cut_at(HANDSHAKE_BYTES + 300 * epoch)
        proxied.append(ProxiedChannel(pair.destination.channel, pair.destination.address, None, fault))
        assert pair.migrate(proxied[-1], epoch=epoch).outcome == "aborted"
    assert pair.migrate(epoch=6).outcome == "completed"
    assert_lossless(pair)
