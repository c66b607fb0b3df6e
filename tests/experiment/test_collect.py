from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.dataplane import engine_state as es
from harness.errors import RunFailed
from harness.experiment.collect import (
    Reading,
    counter_pairs,
    hop_counters,
    read_report,
    take_reading,
)
from harness.measure.hops import InstanceCounters, hop_balances
from harness.measure.invariants import counters_exact
from harness.testbed.counters import FabricCounters, LinkCounters, QdiscCounters

# Two CPUs of a 6.x kernel: the second column is what the backlog refused, hexadecimal.

LOADGEN: dict[str, Any] = {
    "sent_packets": 100,
    "received_frames": 115,
    "echo_replies_packets": 90,
    "echo_duplicates_packets": 2,
    "server_received_packets": 20,
    "server_duplicates_packets": 1,
    "arp_packets": 2,
    "kernel_dropped_packets": 3,
}
ECHOSERVER: dict[str, Any] = {
    "received_frames": 96,
    "echoed_packets": 94,
    "tx_failed_packets": 1,
    "server_sent_packets": 21,
    "arp_packets": 1,
    "kernel_dropped_packets": 0,
}


def page(ports: tuple[dict[int, int], dict[int, int]] = ({}, {}), reasons: dict[int, int] | None = None) -> Any:
    words = np.zeros(es.STATUS_WORDS, np.int64)
    for number, counters in enumerate(ports):
        for word, value in counters.items():
            words[es.PORTS_AT + number * es.PORT_WORDS + word] = value
    for reason, count in (reasons or {}).items():
        words[es.REASONS_AT + reason] = count
    return words


def link(node: str, rx: int, tx: int, tx_dropped: int = 0) -> LinkCounters:
    return LinkCounters(node, "up0", rx, rx * 512, 0, 0, tx, tx * 512, tx_dropped, 0)


def fabric(*links: LinkCounters, meter_drops: int | None = None, softnet: int = 0) -> FabricCounters:
    meters = [] if meter_drops is None else [QdiscCounters("fabric", "source", "tbf", 0, 0, meter_drops, 0, 0, 0)]
    return FabricCounters(1, 2, links, tuple(meters), softnet)


def reading(pages: dict[str, Any], counters: FabricCounters, element: Any = None) -> Reading:
    boots = {node: words if isinstance(words, list) else [words] for node, words in pages.items()}
    return take_reading(boots, [] if element is None else [element], counters, {3: "no_mapping"})


@pytest.fixture
def readings() -> tuple[Reading, Reading]:
    """100 requests sent, 97 at the VNF, of which 1 refused, 1 refused by the meter; 94 echoed, 21 more from there."""
    before = page(({es.RX_IPV4: 1000, es.TX_FRAMES: 1005, es.TX_OTHER: 5}, {es.RX_IPV4: 900}), {3: 7})
    after = page(
        (
            {es.RX_IPV4: 1097, es.KERNEL_DROPPED: 1, es.TX_FRAMES: 1005 + 116, es.TX_OTHER: 5 + 1, es.TX_METER: 0},
            {es.RX_IPV4: 900 + 115, es.TX_FRAMES: 95, es.TX_METER: 1},
        ),
        {3: 8, 9: 0},
    )
    links = (
        link("loadgen", 118, 100),
        link("echoserver", 96, 115),
    )
    empty = (link("loadgen", 0, 0), link("echoserver", 0, 0))
    return (
        reading({"source": before}, fabric(*empty, meter_drops=10, softnet=5)),
        reading({"source": after}, fabric(*links, meter_drops=12, softnet=6)),
    )


def test_a_reading_copies_what_is_on_the_pages() -> None:
    words = page(({es.RX_FRAMES: 5}, {es.TX_FRAMES: 6}), {3: 4})
    element = page()
    element[es.PORTS_AT + 3 * es.PORT_WORDS + es.RX_FRAMES] = 11
    taken = take_reading({"source": [words]}, [element], fabric(), {3: "no_mapping"})
    words[:] = 0
    assert taken.instances["source"]["ports"][0]["rx_frames"] == 5
    assert taken.instances["source"]["ports"][1]["tx_frames"] == 6
    assert taken.instances["source"]["reasons"] == {"no_mapping": 4}
    assert taken.element is not None
    assert [port["rx_frames"] for port in taken.element["ports"]] == [0, 0, 0, 11]


def test_hop_counters_are_what_grew_between_the_readings(readings: tuple[Reading, Reading]) -> None:
    hops = hop_counters(*readings, LOADGEN, ECHOSERVER)
    source = hops.source
    assert (source.interior.received_packets, source.exterior.received_packets) == (97, 115)
    # Frames of its own (ARP) are no test packets.
    assert (source.interior.sent_packets, source.exterior.sent_packets) == (115, 95)
    assert source.interior.kernel_dropped_packets == 1
    assert (source.interior.send_failed_packets, source.exterior.send_failed_packets) == (0, 1)
    assert source.meter_in_dropped_packets == 2
    assert source.refused_packets == {"no_mapping": 1}
    assert hops.destination == InstanceCounters(), "a run without a destination"
    assert hops.softnet_dropped_packets == 1
    assert hops.loadgen_sent_packets == 100
    assert hops.loadgen_received_packets == 90 + 2 + 20 + 1
    assert (hops.echoserver_received_packets, hops.echoserver_echoed_packets) == (95, 94)
    assert hops.echoserver_tx_failed_packets == 1
    assert hops.loadgen_kernel_dropped_packets == 3


def test_consistent_counters_leave_nothing_unexplained(readings: tuple[Reading, Reading]) -> None:
    hops = hop_counters(*readings, {**LOADGEN, "kernel_dropped_packets": 2}, ECHOSERVER)
    balances = {hop.name: hop for hop in hop_balances(hops, 100 + 21, 113)}
    assert {name: hop.residual_packets for name, hop in balances.items()} == dict.fromkeys(balances, 0)
    assert balances["loadgen to VNF"].drops == {"meter": 2, "queue": 1}
    assert balances["VNF"].drops["vnf_refusal:no_mapping"] == 1
    assert balances["VNF exterior uplink"].drops == {"meter": 1}


def test_losses_inside_an_instance_are_told_apart() -> None:
    words = {es.PKT_Q_OVERFLOW: 1, es.ST_Q_OVERFLOW: 2, es.NOT_READY: 3, es.STOPPED: 4, es.TX_FAILED: 5}
    none = fabric(link("loadgen", 0, 0), link("echoserver", 0, 0))
    idle = reading({"source": page(), "destination": page()}, none)
    busy = reading({"source": page(), "destination": page((words, words))}, none)
    counters = hop_counters(idle, busy, LOADGEN, ECHOSERVER).destination
    assert counters.pkt_q_overflow_packets == 2
    assert counters.st_q_out_overflow_packets == 4
    assert counters.not_ready_packets == 6
    assert counters.stopped_packets == 8
    assert (counters.interior.send_failed_packets, counters.exterior.send_failed_packets) == (5, 5)
    assert counters.meter_in_dropped_packets == 0, "without a meter none can drop"


def pairs_of(readings: tuple[Reading, Reading], loadgen: dict[str, Any] = LOADGEN) -> dict[str, tuple[Any, Any]]:
    pairs = counter_pairs(*readings, loadgen, ECHOSERVER)
    return {pair.name: (pair.interface_packets, pair.application_packets) for pair in pairs}


def test_interfaces_are_paired_with_what_the_processes_counted(readings: tuple[Reading, Reading]) -> None:
    assert pairs_of(readings) == {
        "loadgen sent": (100, 100),
        "loadgen received": (118, 118),
        "echoserver sent": (115, 115),
        "echoserver received": (96, 96),
    }
    assert counters_exact(counter_pairs(*readings, LOADGEN, ECHOSERVER)).verdict == "holds"


@pytest.mark.parametrize(("arrived", "verdict"), [(115, "broken"), (116, "holds"), (118, "holds"), (119, "broken")])
def test_arp_of_the_start_may_come_before_the_first_reading_but_nothing_else(
    readings: tuple[Reading, Reading], arrived: int, verdict: str
) -> None:
    before, after = readings
    links = (link("loadgen", arrived, 100), link("echoserver", 96, 115))
    changed = replace(after, fabric=fabric(*links))
    assert counters_exact(counter_pairs(before, changed, LOADGEN, ECHOSERVER)).verdict == verdict


def test_what_a_full_backlog_refused_was_not_sent_where_the_sender_was_told(readings: tuple[Reading, Reading]) -> None:
    before, after = readings
    links = (link("loadgen", 118, 100, tx_dropped=9), link("echoserver", 96, 115))
    assert pairs_of((before, replace(after, fabric=fabric(*links))))["loadgen sent"] == (100, 100)


def test_behind_a_meter_the_sender_is_not_told() -> None:
    meter = QdiscCounters("source", "up0", "tbf", 0, 0, 0, 0, 0, 0)
    none = (link("loadgen", 0, 0), link("echoserver", 0, 0))
    before = reading({"source": page()}, fabric(*none, link("source", 0, 0)), element=page())
    sent = page(({es.TX_FRAMES: 20}, {es.TX_FRAMES: 40}))
    after = reading({"source": sent}, fabric(*none, link("source", 0, 51, tx_dropped=9)), element=page())
    nothing = dict.fromkeys((*LOADGEN, *ECHOSERVER), 0)
    metered = replace(after, fabric=replace(after.fabric, qdiscs=(meter,)))
    for changed, counted in ((metered, 60), (after, 51)):
        pairs = {pair.name: pair for pair in counter_pairs(before, changed, nothing, nothing)}
        assert pairs["source sent"].interface_packets == counted
        assert pairs["source sent"].application_packets == 60


def test_a_packet_sent_by_nobody_breaks_the_promise(readings: tuple[Reading, Reading]) -> None:
    found = counters_exact(counter_pairs(*readings, {**LOADGEN, "sent_packets": 99}, ECHOSERVER))
    assert found.verdict == "broken"
    assert "loadgen sent: interface 100, application 99" in found.detail


def test_an_instance_is_paired_where_a_process_of_ours_carries_its_management_traffic() -> None:
    """The trunk carries both ports and the management traffic, which the delay element counts."""
    quiet = (link("loadgen", 0, 0), link("echoserver", 0, 0))
    ports = ({es.RX_FRAMES: 10, es.TX_FRAMES: 20}, {es.RX_FRAMES: 30, es.TX_FRAMES: 40, es.KERNEL_DROPPED: 2})
    element = page()
    for port, received, sent in ((0, 5, 6), (1, 1000, 1000), (2, 7, 8), (3, 1000, 1000)):
        element[es.PORTS_AT + port * es.PORT_WORDS + es.RX_FRAMES] = received
        element[es.PORTS_AT + port * es.PORT_WORDS + es.TX_FRAMES] = sent
    idle = (link("source", 0, 0), link("destination", 0, 0))
    busy = (link("source", 10 + 30 + 2 + 5, 20 + 40 + 6), link("destination", 7, 8))
    nodes = {"source": page(), "destination": page()}
    before = reading(nodes, fabric(*quiet, *idle), element=page())
    after = reading({**nodes, "source": page(ports)}, fabric(*quiet, *busy), element=element)
    nothing = dict.fromkeys((*LOADGEN, *ECHOSERVER), 0)
    pairs = {
        p.name: (p.interface_packets, p.application_packets) for p in counter_pairs(before, after, nothing, nothing)
    }
    assert pairs["source received"] == (47, 47)
    assert pairs["source sent"] == (66, 66)
    assert pairs["destination received"] == (7, 7)
    assert pairs["destination sent"] == (8, 8)
    without = counter_pairs(replace(before, element=None), replace(after, element=None), nothing, nothing)
    assert {pair.name.split()[0] for pair in without} == {"loadgen", "echoserver"}


@pytest.mark.parametrize("text", [None, "", "[1]", '{"sent_packets": '])
def test_a_process_without_a_report_fails_the_run(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "loadgen.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RunFailed, match=r"loadgen\.json"):
        read_report(path)


def test_a_report_is_read(tmp_path: Path) -> None:
    path = tmp_path / "loadgen.json"
    path.write_text(json.dumps(LOADGEN))
    assert read_report(path) == LOADGEN
