"""What links have lost on purpose, and how much of what vanished on the way that explains. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.measure.hops import TO_ECHOSERVER, TO_EXTERIOR, TO_INTERIOR, TO_LOADGEN, Bound
from harness.measure.invariants import CounterPair
from harness.measure.packets import PacketRecords
from harness.testbed import topology as names
from harness.testbed.changes import Outage
from harness.testbed.conditions import Direction, LinkConditions
from harness.testbed.counters import FabricCounters

LinkWay = tuple[str, Direction]

_TOWARDS, _FROM = (TO_INTERIOR, TO_EXTERIOR), (TO_ECHOSERVER, TO_LOADGEN)
WIRES: Mapping[LinkWay, tuple[str, ...]] = {
    **{(node, "down"): _TOWARDS for node in names.INSTANCES},
    **{(node, "up"): _FROM for node in names.INSTANCES},
    (names.LOADGEN, "up"): (TO_INTERIOR,),
    (names.LOADGEN, "down"): (TO_LOADGEN,),
    (names.ECHOSERVER, "up"): (TO_EXTERIOR,),
    (names.ECHOSERVER, "down"): (TO_ECHOSERVER,),
}
"""Hops of test packets that cross a direction of a link."""
AFTER_NS = 5_000_000
"""A packet sent so long after a link has come back does not owe its loss to it."""
_REJECTED = ("bad_checksum_packets", "malformed_packets", "misdirected_packets", "foreign_packets")


@dataclass(frozen=True)
class LinkEvidence:
    """What the links were in a run, and what was counted of them."""

    ever: Mapping[LinkWay, tuple[LinkConditions, ...]]
    before: FabricCounters
    after: FabricCounters
    outages: Sequence[Outage] = ()
    refused: Mapping[LinkWay, int] = field(default_factory=dict)
    """Frames of which a sender was told that the queueing discipline did not take them: they are counted there."""
    tunnels: Collection[str] = ()
    """Nodes on other hosts: what their links take, a network between the hosts may lose."""

    def any_has(self, impairment: str) -> bool:
        """Whether any link ever has that impairment (an attribute of LinkConditions)."""
        return any(getattr(item, impairment) for ever in self.ever.values() for item in ever)


def link_bounds(
    evidence: LinkEvidence,
    packets: PacketRecords,
    late_ns: int,
    loadgen: Mapping[str, Any],
    echoserver: Mapping[str, Any],
) -> tuple[Bound, ...]:
    """The bounds of all links, the surest first: outages, which are known to the packet, before what is only counted.

    loadgen, echoserver: what the two have counted; frames they rejected were damaged on the way where links corrupt.
    """
    outages = [_outage(evidence, outage, packets, late_ns) for outage in evidence.outages]
    found = list(outages)
    for link_way, wires in WIRES.items():
        found.append(Bound("impairment", wires, _impaired(evidence, link_way)))
    if evidence.any_has("corruption"):
        for wire, report in ((TO_ECHOSERVER, echoserver), (TO_LOADGEN, loadgen)):
            found.append(Bound("impairment", (wire,), sum(int(report.get(name, 0)) for name in _REJECTED)))
    for link_way, wires in WIRES.items():
        if link_way in ((names.SOURCE, "down"), (names.DESTINATION, "down")):
            continue  # the hops know of these meters
        dropped = _grown(evidence, link_way, "tbf") - evidence.refused.get(link_way, 0)
        found.append(Bound("meter", wires, max(0, dropped)))
    for node, way in (link_way for link_way in WIRES if link_way[0] in evidence.tunnels):
        found.append(Bound("queue", WIRES[node, way], _lost_between_hosts(evidence, node, way)))
    # On a machine that stood still a packet was under way for longer; that comes after all that is better known.
    longest_ns = max(
        late_ns, int(np.max(packets.received_ns - packets.sent_ns, initial=0, where=packets.received_ns > 0))
    )
    for outage, usual in zip(evidence.outages, outages, strict=True):
        longer = _outage(evidence, outage, packets, longest_ns)
        found.append(replace(longer, packets=longer.packets - usual.packets))
    return tuple(bound for bound in found if bound.packets)


def _lost_between_hosts(evidence: LinkEvidence, node: str, way: Direction) -> int:
    """Frames that one end of a tunnel has sent and the other has not received."""
    ends = [(names.FABRIC, node), (node, names.UPLINK)]
    near, far = ends if way == "down" else ends[::-1]
    sent, received = (
        [getattr(counters.link(*end), f"{kind}_packets") for counters in (evidence.before, evidence.after)]
        for end, kind in ((near, "tx"), (far, "rx"))
    )
    return max(0, int(sent[1] - sent[0] - received[1] + received[0]))


def _outage(evidence: LinkEvidence, outage: Outage, packets: PacketRecords, reach_ns: int) -> Bound:
    """At most the packets that were lost and under way meanwhile, sent up to `reach_ns` before it, and the copies that
    links have made of them.
    """
    from_ns, until_ns = outage.from_ns - reach_ns, outage.until_ns + AFTER_NS

    def lost(sent_ns: np.ndarray, received_ns: np.ndarray) -> int:
        under_way = (sent_ns >= from_ns) & (sent_ns <= until_ns) & (sent_ns > 0)
        return int(np.count_nonzero(under_way & (received_ns == 0)))

    number = lost(packets.sent_ns, packets.received_ns) + lost(packets.server_sent_ns, packets.server_received_ns)
    wires = tuple(dict.fromkeys(wire for way in ("down", "up") for wire in _wires(outage.node, way)))
    return Bound("link_down", wires, number + _copies(evidence, number))


def _copies(evidence: LinkEvidence, packets: int) -> int:
    """More copies of so many packets than that the links have hardly made: no bound may be so wide that it takes what
    others explain."""
    each = sum(max(item.duplication for item in ever) * len(WIRES[way]) for way, ever in evidence.ever.items())
    return min(packets, math.ceil(packets * each + 6 * math.sqrt(packets * each)))


def _wires(node: str, way: str) -> Iterator[str]:
    for (owner, direction), wires in WIRES.items():
        if owner == node and direction == way:
            yield from wires


def _impaired(evidence: LinkEvidence, link_way: LinkWay) -> int:
    """Frames that the link has lost on purpose, and at most so many that it has damaged: nobody counts those, and one
    whose address is hit reaches nobody who could."""
    lost = max(0, _grown(evidence, link_way, "netem") - _grown(evidence, link_way, "tbf"))
    # netem counts what its meter drops as its own, too. What the latency generator has lost the hops know.
    return lost + _damaged(evidence, link_way)


def _damaged(evidence: LinkEvidence, link_way: LinkWay) -> int:
    """More frames than that the link has hardly damaged: the mean and six standard deviations."""
    corruption = max(item.corruption for item in evidence.ever[link_way])
    frames = _grown(evidence, link_way, "netem", "sent_packets")
    return math.ceil(frames * corruption + 6 * math.sqrt(frames * corruption * (1 - corruption)))


def comparable_pairs(evidence: LinkEvidence, pairs: Sequence[CounterPair]) -> list[CounterPair]:
    """The pairs of interface and application, with what the links do on purpose between the two.

    A netem at a node's own end loses behind the sender's back and before the interface counts. Copies nobody counts, so
    where it makes any the pair says nothing and is left out. An address that was damaged is not the application's, so
    that it may have seen fewer frames than the interface, but not more, and not fewer than by what can be damaged.
    """
    kept = []
    for pair in pairs:
        node, _, what = pair.name.partition(" ")
        if (node, "up") not in evidence.ever or pair.interface_packets is None:
            kept.append(pair)
        elif what == "sent":
            lost = max(0, _grown(evidence, (node, "up"), "netem") - _grown(evidence, (node, "up"), "tbf"))
            copied = any(item.duplication for item in evidence.ever[node, "up"])
            if not (copied and _grown(evidence, (node, "up"), "netem", "sent_packets")):
                kept.append(replace(pair, interface_packets=pair.interface_packets + lost))
        else:
            damaged = sum(_damaged(evidence, link_way) for link_way in evidence.ever)
            missing = pair.interface_packets - (pair.application_packets or 0)
            unseen = missing if 0 <= missing <= damaged else 0
            kept.append(replace(pair, interface_packets=pair.interface_packets - unseen))
    return kept


def _grown(evidence: LinkEvidence, link_way: LinkWay, kind: str, counter: str = "dropped_packets") -> int:
    node, way = link_way
    place = (node, names.UPLINK) if way == "up" else (names.FABRIC, node)

    def read(counters: FabricCounters) -> int:
        try:
            return int(getattr(counters.qdisc(*place, kind), counter))
        except KeyError:  # there is none on this link
            return 0

    return read(evidence.after) - read(evidence.before)
