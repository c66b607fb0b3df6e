"""What the latency generator counted between two readings, for the ledger and against the interfaces. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness.dataplane.element.counters import read_directions
from harness.measure.hops import TO_ECHOSERVER, TO_EXTERIOR, TO_INTERIOR, TO_LOADGEN, WireCounters
from harness.testbed import topology as names
from harness.testbed.conditions import Direction

GeneratorReading = Mapping[tuple[str, Direction], Mapping[str, Any]]
"""Counters by node and direction: see harness.dataplane.element.state, CLASS_COUNTERS and DIRECTION_COUNTERS."""

# Of the direction and the class of a frame: whose address it is counted by, see `counted_addresses`.
_WIRES: Mapping[tuple[str, Direction], tuple[str, ...]] = {
    **{(node, "down"): (TO_INTERIOR, TO_EXTERIOR) for node in names.INSTANCES},
    **{(node, "up"): (TO_LOADGEN, TO_ECHOSERVER) for node in names.INSTANCES},
    (names.LOADGEN, "up"): (TO_INTERIOR,),
    (names.LOADGEN, "down"): (TO_LOADGEN,),
    (names.ECHOSERVER, "up"): (TO_EXTERIOR,),
    (names.ECHOSERVER, "down"): (TO_ECHOSERVER,),
}


def read_generator(pages: Sequence[np.ndarray], nodes: Sequence[str]) -> GeneratorReading:
    """Copy the counters now; pages: of every process there has been, whose counters are summed; nodes: its links."""
    ways: list[tuple[str, Direction]] = [(node, way) for node in nodes for way in ("down", "up")]
    found: dict[tuple[str, Direction], dict[str, Any]] = {}
    for boot in (read_directions(page, len(ways)) for page in pages):
        for way, counters in zip(ways, boot, strict=True):
            past = found.get(way)
            found[way] = counters if past is None else {name: _sum(past[name], counters[name]) for name in counters}
    return found


def _sum(past: Any, counted: Any) -> Any:
    return tuple(map(sum, zip(past, counted, strict=True))) if isinstance(counted, tuple) else past + counted


def grown(before: GeneratorReading, after: GeneratorReading, way: tuple[str, Direction], name: str) -> int:
    """Growth of a counter of one direction, over all classes of frames."""
    old, new = before[way][name], after[way][name]
    return int(sum(new) - sum(old)) if isinstance(new, tuple) else int(new - old)


def wire_counters(before: GeneratorReading, after: GeneratorReading) -> dict[str, WireCounters]:
    """Packets of the load that ended or multiplied in the generator, by the hop they were on."""
    found: dict[str, WireCounters] = {}
    for way, wires in _WIRES.items():
        if way not in after:
            continue
        for kind, wire in enumerate(wires):

            def of_kind(name: str, way: tuple[str, Direction] = way, kind: int = kind) -> int:
                return int(after[way][name][kind] - before[way][name][kind])

            here = WireCounters(
                duplicated_packets=of_kind("duplicated"),
                impairment_packets=of_kind("impaired"),
                meter_packets=of_kind("meter"),
                queue_packets=of_kind("refused") + of_kind("failed"),
            )
            found[wire] = here.plus(found.get(wire, WireCounters()))
    return found


def socket_drops(before: GeneratorReading, after: GeneratorReading) -> int:
    """Frames of any kind that the generator's sockets had no room for."""
    return sum(grown(before, after, way, "kernel_dropped") for way in after)


def frames_at(before: GeneratorReading, after: GeneratorReading, node: str) -> Iterator[tuple[str, int, int]]:
    """(link, frames read from it, frames sent on it) of both links the generator stands between at a node."""
    ways: tuple[tuple[str, Direction, Direction], ...] = (
        (names.UPLINK, "down", "up"),
        (names.INNER_PEER, "up", "down"),
    )
    for link, entering, leaving in ways:
        read = sum(grown(before, after, (node, entering), name) for name in ("received", "oversized", "kernel_dropped"))
        yield link, read, grown(before, after, (node, leaving), "sent")


def in_hand(before: GeneratorReading, after: GeneratorReading) -> int:
    """Frames it has read, or copies it has made, and of which it has not said what became of them."""
    ends = ("sent", "impaired", "refused", "meter", "failed")
    return sum(
        sum(grown(before, after, way, name) for name in ("received", "duplicated"))
        - sum(grown(before, after, way, name) for name in ends)
        for way in after
    )
