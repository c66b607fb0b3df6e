from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.experiment.link_bounds import LinkEvidence, comparable_pairs, link_bounds
from harness.measure.hops import TO_ECHOSERVER, TO_EXTERIOR, TO_INTERIOR, TO_LOADGEN, Bound
from harness.measure.invariants import CounterPair
from harness.measure.packets import PacketRecords
from harness.testbed.changes import Outage
from harness.testbed.conditions import LinkConditions
from harness.testbed.counters import FabricCounters, LinkCounters, QdiscCounters
from harness.testbed.topology import Topology
from tests.measure.conftest import MS, START_NS, make_records

LATE_NS = 15 * MS


def qdisc(node: str, link: str, kind: str, sent: int, dropped: int) -> QdiscCounters:
    return QdiscCounters(node, link, kind, sent, 0, dropped, 0, 0, 0)


def evidence(*qdiscs: QdiscCounters, links: Any = None, **fields: Any) -> LinkEvidence:
    before = tuple(qdisc(q.node, q.link, q.kind, 5, 3) for q in qdiscs)  # only what is new since counts
    ever = Topology("abcdefg1", links=links or {}).ever
    return LinkEvidence(ever, FabricCounters(0, 0, (), before), FabricCounters(0, 0, (), qdiscs), **fields)


def bounds(found: LinkEvidence, packets: PacketRecords | None = None, **reports: Any) -> tuple[Bound, ...]:
    packets = packets or make_records([10.0])
    return link_bounds(found, packets, LATE_NS, reports.get("loadgen", {}), reports.get("echoserver", {}))


def test_links_that_did_nothing_bound_nothing() -> None:
    assert bounds(evidence()) == ()


def test_what_netem_lost_is_its_drops_without_those_of_the_meter_behind_it() -> None:
    down = [qdisc("fabric", "destination", "netem", 1005, 23), qdisc("fabric", "destination", "tbf", 985, 7)]
    assert bounds(evidence(*down)) == (Bound("impairment", (TO_INTERIOR, TO_EXTERIOR), 16),)
    up = [qdisc("destination", "up0", "netem", 1005, 23), qdisc("destination", "up0", "tbf", 985, 7)]
    assert bounds(evidence(*up)) == (
        Bound("impairment", (TO_ECHOSERVER, TO_LOADGEN), 16),
        Bound("meter", (TO_ECHOSERVER, TO_LOADGEN), 4),
    )


def test_the_ends_have_a_wire_each() -> None:
    found = bounds(evidence(qdisc("loadgen", "up0", "netem", 100, 8), qdisc("fabric", "echoserver", "netem", 100, 9)))
    assert found == (Bound("impairment", (TO_INTERIOR,), 5), Bound("impairment", (TO_ECHOSERVER,), 6))


def test_a_drop_the_sender_knows_of_is_counted_there_and_not_again() -> None:
    meter = qdisc("source", "up0", "tbf", 100, 13)
    assert bounds(evidence(meter)) == (Bound("meter", (TO_ECHOSERVER, TO_LOADGEN), 10),)
    assert bounds(evidence(meter, refused={("source", "up"): 10})) == ()


def test_damage_is_bounded_by_chance_and_by_what_was_rejected() -> None:
    links = {("source", "down"): LinkConditions(corruption=0.01)}
    found = bounds(
        evidence(qdisc("fabric", "source", "netem", 10_005, 3), links=links),
        loadgen={"bad_checksum_packets": 2, "malformed_packets": 1},
        echoserver={"bad_checksum_packets": 7},
    )
    assert [(item.cause, item.wires) for item in found] == [
        ("impairment", (TO_INTERIOR, TO_EXTERIOR)),
        ("impairment", (TO_ECHOSERVER,)),
        ("impairment", (TO_LOADGEN,)),
    ]
    assert 100 < found[0].packets < 200
    assert [item.packets for item in found[1:]] == [7, 3]
    assert bounds(evidence(), echoserver={"bad_checksum_packets": 7}) == (), "without corruption they are a riddle"


def test_an_outage_explains_the_lost_packets_that_were_under_way_and_no_others() -> None:
    """Packets 1 ms apart; lost are 100 to 299, and one here and there."""
    lost = {5, 80, 84, 86, *range(100, 300), 304, 306, 400}
    packets = make_records(
        [None if i in lost else 10.0 for i in range(500)],
        server_delays_ms=[None if i in (50, 200) else 5.0 for i in range(500)],
    )
    outage = Outage("source", START_NS + 100 * MS, START_NS + 300 * MS)
    (found,) = bounds(evidence(outages=[outage]), packets)
    assert found.cause == "link_down"
    assert set(found.wires) == {TO_INTERIOR, TO_EXTERIOR, TO_ECHOSERVER, TO_LOADGEN}
    assert (
        found.packets == 1 + 200 + 1 + 1
    )  # 86 was under way, 304 came too late for it to be back, 200 of the server's
    (of_end,) = bounds(evidence(outages=[Outage("loadgen", START_NS, START_NS + 6 * MS)]), packets)
    assert (set(of_end.wires), of_end.packets) == ({TO_INTERIOR, TO_LOADGEN}, 1)


def test_where_packets_were_under_way_for_longer_an_outage_explains_older_losses_last_of_all() -> None:
    packets = make_records([None if i in (60, 95) else 50.0 for i in range(200)])
    outages = [Outage("source", START_NS + 100 * MS, START_NS + 110 * MS)]
    qdiscs = [qdisc("source", "up0", "tbf", 100, 4)]
    found = bounds(evidence(*qdiscs, outages=outages), packets)
    assert [(bound.cause, bound.packets) for bound in found] == [("link_down", 1), ("meter", 1), ("link_down", 1)]


def test_copies_of_lost_packets_are_lost_with_them() -> None:
    links = {("source", "up"): LinkConditions(duplication=0.5)}
    packets = make_records([None] * 10)
    outage = Outage("source", START_NS, START_NS + 10 * MS)
    (found,) = bounds(evidence(links=links, outages=[outage]), packets)
    assert found.packets == 20
    seldom = {("loadgen", "up"): LinkConditions(duplication=0.01)}
    long = Outage("source", START_NS, START_NS + 200 * MS)
    (found,) = bounds(evidence(links=seldom, outages=[long]), make_records([None] * 100))
    assert 101 < found.packets < 110, "not so many that losses by others would count as the outage's"
    assert int(np.count_nonzero(packets.received_ns)) == 0


def test_pairs_of_links_that_do_nothing_stay_as_they_are() -> None:
    pairs = [
        CounterPair("loadgen sent", 7, 9),
        CounterPair("x received", None, 3),
        CounterPair("loadgen received", 9, 8),
    ]
    assert comparable_pairs(evidence(), pairs) == pairs


def test_what_a_netem_loses_before_the_interface_counts_is_added_to_it() -> None:
    found = evidence(qdisc("loadgen", "up0", "netem", 105, 13), qdisc("loadgen", "up0", "tbf", 105, 5))
    (pair,) = comparable_pairs(found, [CounterPair("loadgen sent", 100, 108)])
    assert pair.interface_packets == 108


def test_a_sender_whose_frames_are_copied_behind_its_back_says_nothing() -> None:
    links = {("loadgen", "up"): LinkConditions(duplication=0.1)}
    pairs = [CounterPair("loadgen sent", 100, 108), CounterPair("echoserver sent", 4, 4)]
    assert comparable_pairs(evidence(qdisc("loadgen", "up0", "netem", 105, 3), links=links), pairs) == pairs[1:]
    assert comparable_pairs(evidence(links=links), pairs) == pairs, "the generator counts its copies itself"


@pytest.mark.parametrize(("unseen", "agrees"), [(0, True), (30, True), (-1, False), (5_000, False)])
def test_a_receiver_may_miss_as_many_frames_as_can_be_damaged(unseen: int, agrees: bool) -> None:
    links = {("loadgen", "down"): LinkConditions(corruption=0.005)}
    found = evidence(qdisc("fabric", "loadgen", "netem", 10_005, 3), links=links)
    (pair,) = comparable_pairs(found, [CounterPair("loadgen received", 9_000 + unseen, 9_000)])
    assert (pair.interface_packets == pair.application_packets) is agrees


def link(node: str, name: str, received: int, sent: int) -> LinkCounters:
    return LinkCounters(node, name, received, 0, 0, 0, sent, 0, 0, 0)


def test_what_is_lost_between_the_ends_of_a_tunnel_is_lost_in_a_queue_of_the_network_there() -> None:
    def counters(port: tuple[int, int], uplink: tuple[int, int]) -> FabricCounters:
        links = (link("fabric", "source", *port), link("source", "up0", *uplink))
        return FabricCounters(0, 0, links, ())

    ever = Topology("abcdefg1").ever
    before, after = counters((10, 20), (20, 10)), counters((110, 220), (213, 112))
    found = bounds(LinkEvidence(ever, before, after, tunnels=["source"]))
    # 200 sent to the source and 193 received by it; 102 sent by it and 100 received.
    assert found == (
        Bound("queue", (TO_INTERIOR, TO_EXTERIOR), 7),
        Bound("queue", (TO_ECHOSERVER, TO_LOADGEN), 2),
    )
    assert bounds(LinkEvidence(ever, before, after)) == ()
