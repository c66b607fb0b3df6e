from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.admission import apportion
from harness.measure.cells import CellRecords
from harness.measure.hops import (
    TO_ECHOSERVER,
    TO_EXTERIOR,
    TO_INTERIOR,
    TO_LOADGEN,
    WIRES,
    Bound,
    HopCounters,
    InstanceCounters,
    PortCounters,
    hop_balances,
)
from harness.measure.ledger import ROWS, attribute

counts = st.integers(0, 20)
ports = st.builds(PortCounters, counts, counts, counts, counts)
instances = st.builds(
    InstanceCounters,
    *[ports, ports, counts, counts, counts, counts, counts],
    st.dictionaries(st.sampled_from(["no mapping", "pool exhausted"]), counts),
)
hop_counters = st.builds(HopCounters, *[counts] * 5, instances, instances, *[counts] * 4)
rtt = st.one_of(st.none(), st.sampled_from([10.0, 15.0, 16.0]))


@given(st.lists(rtt, max_size=30), st.lists(rtt, max_size=10), hop_counters, st.data())
def test_rows_sum_whatever_the_counters_say(records, rtts, server, hops, data) -> None:
    lost = [i for i, value in enumerate(rtts) if value is None]
    unsent = data.draw(st.lists(st.sampled_from(lost), unique=True)) if lost else []
    ledger = attribute(records(rtts, server_delays_ms=server, unsent=unsent), hops)
    assert tuple(row.name for row in ledger.rows) == ROWS
    assert sum(row.echo_packets for row in ledger.rows) == len(rtts)
    assert sum(row.server_packets for row in ledger.rows) == len(server)
    assert ledger.balanced
    named = [row for row in ledger.rows if row.name != "unexplained"]
    assert all(row.echo_packets >= 0 and row.server_packets >= 0 for row in named)
    refusals = ledger.row("vnf_refusal")
    assert sum(reason.total_packets for reason in refusals.reasons) == refusals.total_packets
    if min(ledger.row("unexplained").echo_packets, ledger.row("unexplained").server_packets) < 0:
        assert ledger.overexplained
    assert ledger.row("unexplained").total_packets == ledger.duplicate_packets + sum(
        hop.residual_packets for hop in ledger.hops
    )


class Path:
    """Sends packets one by one along the path; each ends where a seeded die says, and every hop keeps its own count."""

    CAUSES = (
        *["meter_in", "kernel_in", "refused", "pkt_q", "not_ready", "stopped", "statelet", "meter_out"],
        *["kernel_echo", "echo_tx", "softnet", "kernel_loadgen"],
    )

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.expected = dict.fromkeys(ROWS, 0)
        self.n: dict[str, int] = {}
        self.lost_server = 0

    def count(self, key: str) -> None:
        self.n[key] = self.n.get(key, 0) + 1

    def lost(self, row: str, counter: str) -> bool:
        self.count(counter)
        self.expected[row] += 1
        return False

    def vnf(self, cause: str, entering: str, leaving: str) -> bool:
        instance = self.random.choice(["source", "destination"])
        if cause == "meter_in":
            return self.lost("meter", f"{instance}.meter_in")
        if cause == "kernel_in":
            return self.lost("queue", f"{instance}.{entering}.kernel")
        self.count(f"{instance}.{entering}.received")
        inside = {
            "refused": "vnf_refusal",
            "pkt_q": "pkt_q_overflow",
            "not_ready": "destination_not_ready",
            "stopped": "source_stopped",
            "statelet": "st_q_out_overflow",
        }
        if cause in inside:
            return self.lost(inside[cause], f"{instance}.{cause}")
        if cause == "meter_out":
            return self.lost("meter", f"{instance}.{leaving}.failed")
        self.count(f"{instance}.{leaving}.sent")
        return True

    def echoserver(self, cause: str) -> bool:
        if cause == "kernel_echo":
            return self.lost("queue", "kernel_echo")
        if cause == "softnet":
            return self.lost("queue", "softnet")
        self.count("echo_received")
        if cause == "echo_tx":
            return self.lost("echo_tx_failed", "echo_tx")
        self.count("echoed")
        return True

    def back(self, cause: str) -> bool:
        if not self.vnf(cause, "exterior", "interior"):
            return False
        if cause == "kernel_loadgen":
            return self.lost("queue", "kernel_loadgen")
        self.count("loadgen_received")
        return True

    def echo(self) -> float | None:
        self.count("loadgen_sent")
        forward = self.random.choice(self.CAUSES[:-1]) if self.random.random() < 0.2 else ""
        backward = self.random.choice(self.CAUSES) if self.random.random() < 0.2 else ""
        if self.vnf(forward, "interior", "exterior") and self.echoserver(forward) and self.back(backward):
            self.expected["delivered"] += 1
            return 10.0
        return None

    def server(self) -> float | None:
        self.count("server_sent")
        if self.back(self.random.choice(self.CAUSES) if self.random.random() < 0.2 else ""):
            self.expected["delivered"] += 1
            return 5.0
        self.lost_server += 1
        return None

    def counters(self) -> HopCounters:
        def port(name: str) -> PortCounters:
            return PortCounters(*(self.n.get(f"{name}.{key}", 0) for key in ("received", "kernel", "sent", "failed")))

        def instance(name: str) -> InstanceCounters:
            return InstanceCounters(
                interior=port(f"{name}.interior"),
                exterior=port(f"{name}.exterior"),
                meter_in_dropped_packets=self.n.get(f"{name}.meter_in", 0),
                pkt_q_overflow_packets=self.n.get(f"{name}.pkt_q", 0),
                st_q_out_overflow_packets=self.n.get(f"{name}.statelet", 0),
                not_ready_packets=self.n.get(f"{name}.not_ready", 0),
                stopped_packets=self.n.get(f"{name}.stopped", 0),
                refused_packets={"no mapping": self.n.get(f"{name}.refused", 0)},
            )

        return HopCounters(
            loadgen_sent_packets=self.n.get("loadgen_sent", 0),
            loadgen_received_packets=self.n.get("loadgen_received", 0),
            echoserver_received_packets=self.n.get("echo_received", 0),
            echoserver_echoed_packets=self.n.get("echoed", 0),
            echoserver_server_sent_packets=self.n.get("server_sent", 0),
            source=instance("source"),
            destination=instance("destination"),
            loadgen_kernel_dropped_packets=self.n.get("kernel_loadgen", 0),
            echoserver_kernel_dropped_packets=self.n.get("kernel_echo", 0),
            echoserver_tx_failed_packets=self.n.get("echo_tx", 0),
            softnet_dropped_packets=self.n.get("softnet", 0),
        )


@given(st.integers(0, 1 << 32), st.integers(0, 80), st.integers(0, 30))
def test_counters_of_a_simulated_path_explain_every_loss(records, seed, echo_packets, server_packets) -> None:
    path = Path(seed)
    rtts = [path.echo() for _ in range(echo_packets)]
    delays = [path.server() for _ in range(server_packets)]
    ledger = attribute(records(rtts, server_delays_ms=delays), path.counters())
    assert ledger.explained
    assert {row.name: row.total_packets for row in ledger.rows} == path.expected
    assert sum(row.server_packets for row in ledger.rows[2:]) == path.lost_server


def counters(**changed: int) -> HopCounters:
    """Ten round trips and no server-originated packet without loss, through the source."""
    port = PortCounters(received_packets=10, sent_packets=10)
    hops = HopCounters(10, 10, 10, 10, 0, InstanceCounters(interior=port, exterior=port))
    return replace(hops, **changed)


def test_unsent_late_and_delivered_by_hand(records) -> None:
    hops = HopCounters(9, 9, 9, 9, 0, InstanceCounters(interior=PortCounters(9, 0, 9), exterior=PortCounters(9, 0, 9)))
    ledger = attribute(records([10] * 6 + [15, 16, 17, None], unsent=[9]), hops)
    found = {row.name: row.echo_packets for row in ledger.rows if row.echo_packets}
    assert found == {"delivered": 7, "late": 2, "not_sent": 1}
    assert ledger.explained


def test_server_originated_is_late_after_half_the_time(records) -> None:
    hops = HopCounters(0, 2, 0, 0, 2, InstanceCounters(interior=PortCounters(0, 0, 2), exterior=PortCounters(2, 0, 0)))
    ledger = attribute(records([], server_delays_ms=[7.5, 7.6]), hops)
    assert (ledger.row("delivered").server_packets, ledger.row("late").server_packets) == (1, 1)


def test_loss_without_a_counted_drop_is_unexplained_and_located(records) -> None:
    ledger = attribute(records([10] * 8 + [None] * 2), counters(loadgen_received_packets=8))
    assert ledger.row("unexplained").echo_packets == 2
    assert not ledger.explained
    assert not ledger.overexplained
    assert [(h.name, h.residual_packets) for h in ledger.hops if h.residual_packets] == [("VNF to loadgen", 2)]


def test_drop_counted_without_a_loss_is_overexplained(records) -> None:
    ledger = attribute(records([10] * 10), counters(loadgen_kernel_dropped_packets=3))
    assert ledger.row("unexplained").total_packets == -3
    assert ledger.overexplained


def test_overexplanation_is_not_hidden_by_a_gap_elsewhere(records) -> None:
    hops = counters(loadgen_kernel_dropped_packets=2, echoserver_received_packets=8, echoserver_echoed_packets=8)
    exterior = PortCounters(received_packets=8, sent_packets=10)
    interior = PortCounters(received_packets=10, sent_packets=8)
    hops = replace(hops, source=InstanceCounters(interior, exterior), loadgen_received_packets=8)
    ledger = attribute(records([10] * 8 + [None] * 2), hops)
    assert ledger.row("unexplained").total_packets == 0
    assert ledger.overexplained
    assert not ledger.explained


def test_meter_is_bounded_by_what_its_qdisc_admits(records) -> None:
    port = PortCounters(received_packets=6, sent_packets=6)
    source = InstanceCounters(interior=port, exterior=port, meter_in_dropped_packets=3)
    hops = HopCounters(10, 6, 6, 6, 0, source)
    ledger = attribute(records([10] * 6 + [None] * 4), hops)
    assert (ledger.row("meter").echo_packets, ledger.row("unexplained").echo_packets) == (3, 1)
    # Management frames dropped by the same meter are not test packets.
    more = replace(hops, source=replace(source, meter_in_dropped_packets=500))
    assert attribute(records([10] * 6 + [None] * 4), more).row("meter").echo_packets == 4


def test_duplicate_on_the_way_is_no_loss_and_no_error(records) -> None:
    port = PortCounters(received_packets=10, sent_packets=10)
    hops = HopCounters(10, 11, 10, 10, 0, InstanceCounters(interior=replace(port, sent_packets=11), exterior=port))
    ledger = attribute(records([10] * 10, duplicates=[1] + [0] * 9), hops)
    assert ledger.explained
    assert ledger.duplicate_packets == 1


def test_refusals_keep_their_reasons(records) -> None:
    source = InstanceCounters(
        interior=PortCounters(10, 0, 7),
        exterior=PortCounters(7, 0, 7),
        refused_packets={"pool exhausted": 2, "table full": 1},
    )
    ledger = attribute(records([10] * 7 + [None] * 3), HopCounters(10, 7, 7, 7, 0, source))
    reasons = {row.name: row.echo_packets for row in ledger.row("vnf_refusal").reasons}
    assert reasons == {"pool exhausted": 2, "table full": 1}
    assert ledger.explained


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.data())
def test_apportion_sums_and_stays_within(weights, data) -> None:
    total = data.draw(st.integers(0, sum(weights)))
    parts = apportion(total, weights)
    assert sum(parts) == total
    assert all(0 <= part <= weight for part, weight in zip(parts, weights, strict=True))


def test_apportion_refuses_more_than_there_is() -> None:
    with pytest.raises(ValueError, match="cannot split"):
        apportion(3, [1, 1])


def test_negative_counters_are_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        PortCounters(received_packets=-1)
    with pytest.raises(ValueError, match="not negative"):
        InstanceCounters(refused_packets={"x": -1})
    with pytest.raises(ValueError, match="not negative"):
        counters(loadgen_sent_packets=-1)


@given(hop_counters, counts, counts)
def test_balances_telescope(hops, sent, delivered) -> None:
    balances = hop_balances(hops, sent, delivered)
    drops = sum(sum(hop.drops.values()) for hop in balances)
    assert sent - delivered == drops + sum(hop.residual_packets for hop in balances)


def test_packets_in_a_wrong_cell_have_a_row_of_their_own_in_either_column(records) -> None:
    cell = np.full(10, 3, np.uint16)
    reply_cell = cell.copy()
    reply_cell[[6, 8]] = 4
    cells = CellRecords(cell, np.arange(10) == 0, reply_cell, np.array([3, 9], np.uint16))
    rtts = [10] * 9 + [None]
    made = records(rtts, flows=1, server_delays_ms=[20, 20], cells=cells, duplicates=[0] * 6 + [1] + [0] * 3)
    source = InstanceCounters(interior=PortCounters(10, 0, 12), exterior=PortCounters(12, 0, 10))
    # One of the twelve is dropped by the load generator's socket, one comes twice.
    hops = HopCounters(10, 12, 10, 10, 2, replace(source, interior=PortCounters(10, 0, 13)))
    ledger = attribute(made, replace(hops, loadgen_kernel_dropped_packets=1))
    row = ledger.row("wrong_cell")
    assert (row.echo_packets, row.server_packets) == (2, 1)
    assert (ledger.row("delivered").echo_packets, ledger.row("queue").echo_packets) == (7, 1)
    assert (ledger.row("late").server_packets, ledger.row("unexplained").total_packets) == (1, 0)
    assert [hop.drops for hop in ledger.hops if hop.name == "loadgen records"] == [{"wrong_cell": 3}]
    assert ledger.balanced


@given(st.lists(st.tuples(rtt, st.booleans(), st.integers(0, 2)), max_size=30), hop_counters)
def test_rows_sum_with_wrong_cells(records, packets, hops) -> None:
    cell = np.arange(len(packets), dtype=np.uint16) // 4
    cells = CellRecords(
        cell,
        np.array([announced for _, announced, _ in packets], np.bool_),
        cell + np.array([off for _, _, off in packets], np.uint16),
        np.zeros(0, np.uint16),
    )
    made = records([value for value, _, _ in packets], spacing_ms=5.0, cells=cells)
    ledger = attribute(made, hops)
    assert ledger.balanced
    assert ledger.row("wrong_cell").echo_packets == np.count_nonzero(made.wrong_cell)
    assert ledger.row("unexplained").total_packets == ledger.duplicate_packets + sum(
        hop.residual_packets for hop in ledger.hops
    )


def test_what_a_link_takes_on_purpose_has_its_own_row_and_the_surest_bound_comes_first(records) -> None:
    port = PortCounters(received_packets=6, sent_packets=6)
    source = InstanceCounters(interior=port, exterior=port, meter_in_dropped_packets=9)
    bounds = (Bound("link_down", WIRES, 1), Bound("impairment", (TO_INTERIOR, TO_EXTERIOR), 2))
    hops = HopCounters(10, 6, 6, 6, 0, source, bounds=bounds)
    ledger = attribute(records([10] * 6 + [None] * 4), hops)
    found = {row.name: row.echo_packets for row in ledger.rows if row.echo_packets}
    assert found == {"delivered": 6, "link_down": 1, "impairment": 2, "meter": 1}
    assert ledger.explained


def test_a_bound_holds_for_its_wires_only(records) -> None:
    bounds = (Bound("impairment", (TO_ECHOSERVER,), 5),)
    ledger = attribute(records([10] * 8 + [None] * 2), counters(loadgen_received_packets=8, bounds=bounds))
    assert ledger.row("impairment").total_packets == 0
    assert ledger.row("unexplained").total_packets == 2


def test_a_bound_that_means_nothing_is_refused() -> None:
    for bad in (("luck", WIRES, 1), ("meter", ("the moon",), 1), ("meter", WIRES, -1)):
        with pytest.raises(ValueError, match=r"no such cause or wire|not negative"):
            Bound(*bad)


class Lossy:
    """A path of four wires, each of which loses and duplicates every frame by itself; nothing else happens to any."""

    def __init__(self, seed: int, loss: float, duplication: float) -> None:
        self.random, self.loss, self.duplication = random.Random(seed), loss, duplication
        self.entered, self.left = dict.fromkeys(WIRES, 0), dict.fromkeys(WIRES, 0)
        self.dropped = dict.fromkeys(WIRES, 0)

    def cross(self, wire: str, frames: int) -> int:
        """As netem: a copy is made before the frame itself may be lost."""
        self.entered[wire] += frames
        copies = sum(self.random.random() < self.duplication for _ in range(frames))
        lost = sum(self.random.random() < self.loss for _ in range(frames + copies))
        self.dropped[wire] += lost
        self.left[wire] += frames + copies - lost
        return frames + copies - lost

    def arrivals(self, wires: tuple[str, ...]) -> int:
        frames = 1
        for wire in wires:
            frames = self.cross(wire, frames)
        return frames

    def counters(self, requests: int, server: int) -> HopCounters:
        interior = PortCounters(self.left[TO_INTERIOR], 0, self.entered[TO_LOADGEN])
        exterior = PortCounters(self.left[TO_EXTERIOR], 0, self.entered[TO_ECHOSERVER])
        return HopCounters(
            requests,
            self.left[TO_LOADGEN],
            self.left[TO_ECHOSERVER],
            self.left[TO_ECHOSERVER],
            server,
            InstanceCounters(interior, exterior),
            bounds=tuple(Bound("impairment", (wire,), self.dropped[wire]) for wire in WIRES),
            duplicates_by_design=True,
        )


@given(st.integers(0, 1 << 32), st.sampled_from([0.0, 0.02, 0.3, 1.0]), st.sampled_from([0.0, 0.05, 0.5]))
def test_links_that_lose_and_duplicate_on_purpose_leave_nothing_unexplained(records, seed, loss, duplication) -> None:
    path = Lossy(seed, loss, duplication)
    arrived = [path.arrivals(WIRES) for _ in range(60)]
    server = [path.arrivals((TO_EXTERIOR, TO_LOADGEN)) for _ in range(20)]
    made = records(
        [10.0 if copies else None for copies in arrived],
        duplicates=[max(0, copies - 1) for copies in arrived],
        server_delays_ms=[5.0 if copies else None for copies in server],
        server_duplicates=np.array([max(0, copies - 1) for copies in server], np.uint16),
    )
    ledger = attribute(made, path.counters(60, 20))
    assert ledger.explained
    assert ledger.row("impairment").total_packets == arrived.count(0) + server.count(0)
