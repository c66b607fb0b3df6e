"""Counters of instances whose process ended in the middle of something: every packet still has its cause."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.dataplane import engine_state as es
from harness.dataplane.trace import RECORD_BYTES
from harness.experiment.collect import Reading, counter_pairs, hop_counters, take_reading
from harness.experiment.run_record import cut_trace
from harness.measure.hops import hop_balances
from harness.testbed.counters import FabricCounters, LinkCounters

REQUESTS = 100
LOADGEN: dict[str, Any] = {
    "sent_packets": REQUESTS,
    "received_frames": 40,
    "echo_replies_packets": 40,
    "echo_duplicates_packets": 0,
    "server_received_packets": 0,
    "server_duplicates_packets": 0,
    "arp_packets": 0,
    "kernel_dropped_packets": 0,
}
ECHOSERVER: dict[str, Any] = {
    "received_frames": 50,
    "echoed_packets": 50,
    "tx_failed_packets": 0,
    "server_sent_packets": 0,
    "arp_packets": 0,
    "kernel_dropped_packets": 0,
}


def page(interior: dict[int, int] | None = None, exterior: dict[int, int] | None = None) -> Any:
    words = np.zeros(es.STATUS_WORDS, np.int64)
    for number, counters in enumerate((interior or {}, exterior or {})):
        for word, value in counters.items():
            words[es.PORTS_AT + number * es.PORT_WORDS + word] = value
    return words


def link(node: str, rx: int, tx: int) -> LinkCounters:
    return LinkCounters(node, "up0", rx, 0, 0, 0, tx, 0, 0, 0)


def reading(sources: list[Any], links: tuple[LinkCounters, ...]) -> Reading:
    return take_reading({"source": sources}, [page()], FabricCounters(1, 2, links, ()), {})


IDLE = (link("loadgen", 0, 0), link("echoserver", 0, 0), link("source", 0, 0))
# Killed after 60 of 100 requests had been read: 50 came out, 2 of them uncounted; 46 replies were read and 40 sent.
# Its page says what it had counted by then; its uplink took everything.
DEAD = page(
    {es.RX_FRAMES: 60, es.RX_IPV4: 60, es.TX_FRAMES: 40, es.DELAY_DEPTH: 5},
    {es.RX_FRAMES: 46, es.RX_IPV4: 46, es.TX_FRAMES: 48, es.DELAY_DEPTH: 6},
)
AFTER = (link("loadgen", 40, REQUESTS), link("echoserver", 50, 50), link("source", REQUESTS + 50, 90))


@pytest.fixture
def readings() -> tuple[Reading, Reading]:
    return reading([page()], IDLE), reading([DEAD], AFTER)


def test_what_reached_nobody_and_what_was_in_its_hands_is_named(readings: tuple[Reading, Reading]) -> None:
    hops = hop_counters(*readings, LOADGEN, ECHOSERVER, ended={"source"})
    assert hops.source.unread_packets == (REQUESTS - 60) + (50 - 46)
    assert hops.source.unrecorded_packets == 2
    balances = {hop.name: hop for hop in hop_balances(hops, REQUESTS, 40)}
    assert {name: hop.residual_packets for name, hop in balances.items()} == dict.fromkeys(balances, 0)
    down = {name: hop.drops["instance_down"] for name, hop in balances.items() if hop.drops.get("instance_down")}
    assert down == {"loadgen to VNF": 40, "VNF": (60 - 50) + (46 - 40), "echoserver to VNF": 4}


def test_without_an_end_the_same_counters_are_unexplained(readings: tuple[Reading, Reading]) -> None:
    hops = hop_counters(*readings, LOADGEN, ECHOSERVER)
    assert any(hop.residual_packets for hop in hop_balances(hops, REQUESTS, 40))


def test_more_than_its_hands_could_hold_stays_unexplained(readings: tuple[Reading, Reading]) -> None:
    before, after = readings
    swallowed = page({es.RX_FRAMES: 5000, es.RX_IPV4: 5000}, {})
    links = (link("loadgen", 0, 5000), link("echoserver", 0, 0), link("source", 5000, 0))
    greedy = reading([swallowed], links)
    loadgen = {**LOADGEN, "sent_packets": 5000, "echo_replies_packets": 0}
    none = dict.fromkeys(ECHOSERVER, 0)
    hops = hop_counters(before, greedy, loadgen, none, ended={"source"})
    assert sum(hop.residual_packets for hop in hop_balances(hops, 5000, 0)) > 3000
    assert after is not greedy


def test_what_waits_in_the_queues_of_a_living_instance_is_named() -> None:
    waiting = page({es.RX_IPV4: 30, es.PKT_Q_DEPTH: 20, es.DELAY_DEPTH: 10}, {})
    hops = hop_counters(reading([page()], IDLE), reading([waiting], IDLE), LOADGEN, ECHOSERVER)
    assert hops.source.left_in_queue_packets == 30
    (vnf,) = [hop for hop in hop_balances(hops, REQUESTS, 40) if hop.name == "VNF"]
    assert vnf.drops["left_in_queue"] == 30


def test_the_processes_there_have_been_in_one_place_count_together() -> None:
    first = page({es.RX_FRAMES: 7, es.TX_FRAMES: 3}, {})
    second = page({es.RX_FRAMES: 2}, {es.TX_FRAMES: 4})
    first[es.STATELETS_AT], second[es.STATELETS_AT] = 90, 4
    taken = reading([first, second], IDLE).instances["source"]
    assert (taken["ports"][0]["rx_frames"], taken["ports"][1]["tx_frames"]) == (9, 4)
    assert taken["statelets"] == 4, "what is not a sum is the present one's"


def test_what_cannot_agree_is_not_compared(readings: tuple[Reading, Reading]) -> None:
    names = {pair.name for pair in counter_pairs(*readings, LOADGEN, ECHOSERVER)}
    assert {"source sent", "source received"} <= names
    for ended in ("source", "latency"):
        left = {pair.name for pair in counter_pairs(*readings, LOADGEN, ECHOSERVER, {ended})}
        assert left == {"loadgen sent", "loadgen received", "echoserver sent", "echoserver received"}


@pytest.mark.parametrize(("records", "doubts"), [(9, 1), (10, 0), (11, 0), (None, 0)])
def test_a_trace_with_fewer_packets_than_were_processed_is_a_doubt(
    tmp_path: Path, records: int | None, doubts: int
) -> None:
    trace = tmp_path / "source.trace"
    if records is not None:
        trace.write_bytes(bytes(records * RECORD_BYTES))
    counters = {"expired": 1, "ports": [{"processed": 5}, {"processed": 4}]}
    found = cut_trace(trace, counters)
    assert len(found) == doubts
    assert all("source.trace holds 9 of 10 packets" in doubt for doubt in found)
