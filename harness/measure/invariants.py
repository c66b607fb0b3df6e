"""Promises of a migration, checked on every run. Doubt is "unknown", never "holds"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.measure.ledger import Ledger
from harness.measure.packets import PacketRecords

Verdict = Literal["holds", "broken", "unknown"]


@dataclass(frozen=True)
class Invariant:
    """One promise; `detail` is the evidence in one line."""

    name: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True)
class StateletCounters:
    """The statelet stream of one migration: put in st_q_out, sent, received and installed at the destination.

    The sequence numbers are the receiver's, None exactly when nothing was received.
    """

    announced: int
    sent: int
    received: int
    installed: int
    first_sequence: int | None
    last_sequence: int | None


@dataclass(frozen=True)
class CounterPair:
    """The same packets counted by the interface and by the application; None is not measured."""

    name: str
    interface_packets: int | None
    application_packets: int | None


def mappings_unchanged(records: PacketRecords) -> Invariant:
    """No flow changed the external address and port under which the echoserver sees it."""
    name = "external mappings unchanged"
    seen = records.flow_packets > 0
    if not seen.any():
        return Invariant(name, "unknown", "the echoserver saw no flow")
    changed = np.flatnonzero(records.flow_mapping_changes)
    if changed.size:
        return Invariant(name, "broken", f"{changed.size} flows changed, the first is flow {changed[0]}")
    return Invariant(name, "holds", f"{int(seen.sum())} flows seen, none changed")


def mappings_unique(records: PacketRecords) -> Invariant:
    """No two flows of one protocol appear to the echoserver under the same external address and port."""
    name = "external mappings unique"
    seen = np.flatnonzero(records.flow_packets > 0)
    if seen.size == 0:
        return Invariant(name, "unknown", "the echoserver saw no flow")
    address = records.flow_external_ip[seen].astype(np.int64) << 16 | records.flow_external_port[seen]
    if records.flow_protocol is not None:
        address |= records.flow_protocol[seen].astype(np.int64) << 48
    order = np.argsort(address, kind="stable")
    shared = np.flatnonzero(np.diff(address[order]) == 0)
    if shared.size:
        first, second = seen[order[shared[0]]], seen[order[shared[0] + 1]]
        return Invariant(name, "broken", f"{shared.size} mappings are shared, the first by flows {first} and {second}")
    return Invariant(name, "holds", f"{seen.size} flows, {seen.size} mappings")


def state_equals_reference(comparison: Mapping[str, object] | None) -> Invariant:
    """The active instance's final state equals what a reference VNF reaches on the same packets.

    comparison: {"equal": bool | None, "difference": str}, None when no comparison was made.
    """
    name = "state equals the reference"
    equal = comparison.get("equal") if comparison is not None else None
    difference = str(comparison.get("difference", "")) if comparison is not None else ""
    if equal is True:
        return Invariant(name, "holds", difference or "equal")
    if equal is False:
        return Invariant(name, "broken", difference or "different")
    return Invariant(name, "unknown", difference or "not compared")


def statelets_contiguous(counters: StateletCounters | None) -> Invariant:
    """Every statelet announced was installed once, and their sequence numbers have no hole."""
    name = "statelet sequence contiguous"
    if counters is None:
        return Invariant(name, "unknown", "the stream was not counted")
    detail = (
        f"announced {counters.announced}, sent {counters.sent}, received {counters.received}, "
        f"installed {counters.installed}, sequence {counters.first_sequence} to {counters.last_sequence}"
    )
    counts = {counters.announced, counters.sent, counters.received, counters.installed}
    first, last = counters.first_sequence, counters.last_sequence
    if len(counts) > 1:
        return Invariant(name, "broken", detail)
    if counters.received == 0:
        if first is None and last is None:
            return Invariant(name, "holds", "no statelet was announced")
        return Invariant(name, "broken", detail)
    if first is None or last is None:
        return Invariant(name, "unknown", detail)
    return Invariant(name, "holds" if last - first + 1 == counters.received else "broken", detail)


def destination_silent(sent_before_activation_packets: int | None) -> Invariant:
    """The destination sent no dataplane frame before it was activated."""
    return _zero(
        "destination silent before it is active", sent_before_activation_packets, "frames sent before activation"
    )


def source_silent(sent_after_drain_packets: int | None) -> Invariant:
    """The source sent no dataplane frame after the second drain packet had stopped it."""
    return _zero("source silent after the drain", sent_after_drain_packets, "frames sent after the drain")


def every_loss_named(ledger: Ledger | None) -> Invariant:
    """The ledger's rows sum to the intended packets and nothing is unexplained or explained twice."""
    name = "every loss has a named cause"
    if ledger is None:
        return Invariant(name, "unknown", "no ledger")
    unexplained = ledger.row("unexplained").total_packets
    if ledger.explained:
        return Invariant(name, "holds", f"{ledger.intended_packets} packets in named rows")
    residuals = "; ".join(f"{hop.name} {hop.residual_packets:+d}" for hop in ledger.hops if hop.residual_packets)
    cause = "more drops counted than packets lost" if ledger.overexplained else "lost without a counted drop"
    return Invariant(name, "broken", f"unexplained {unexplained}, {cause}; balance: {residuals or 'all hops even'}")


def counters_exact(pairs: Sequence[CounterPair]) -> Invariant:
    """The interfaces counted the same packets as the application."""
    name = "counters exact"
    for pair in pairs:
        measured = pair.interface_packets is not None and pair.application_packets is not None
        if measured and pair.interface_packets != pair.application_packets:
            detail = f"{pair.name}: interface {pair.interface_packets}, application {pair.application_packets}"
            return Invariant(name, "broken", detail)
    missing = [p.name for p in pairs if p.interface_packets is None or p.application_packets is None]
    if missing or not pairs:
        return Invariant(name, "unknown", f"not counted: {', '.join(missing) or 'anything'}")
    return Invariant(name, "holds", f"{len(pairs)} pairs agree")


def check_invariants(
    records: PacketRecords,
    ledger: Ledger | None,
    comparison: Mapping[str, object] | None,
    counters: Sequence[CounterPair],
    *,
    migrated: bool,
    statelets: StateletCounters | None = None,
    destination_sent_before_activation_packets: int | None = None,
    source_sent_after_drain_packets: int | None = None,
) -> list[Invariant]:
    """All promises that apply: a run without a migration has no statelets, no destination and no drain."""
    found = [
        mappings_unchanged(records),
        mappings_unique(records),
        state_equals_reference(comparison),
        every_loss_named(ledger),
        counters_exact(counters),
    ]
    if migrated:
        found += check_migration(statelets, destination_sent_before_activation_packets, source_sent_after_drain_packets)
    return found


def check_migration(
    statelets: StateletCounters | None,
    destination_sent_before_activation_packets: int | None,
    source_sent_after_drain_packets: int | None,
) -> list[Invariant]:
    """The promises of a migration that do not depend on what was sent."""
    return [
        statelets_contiguous(statelets),
        destination_silent(destination_sent_before_activation_packets),
        source_silent(source_sent_after_drain_packets),
    ]


def _zero(name: str, packets: int | None, what: str) -> Invariant:
    if packets is None:
        return Invariant(name, "unknown", f"not counted: {what}")
    return Invariant(name, "holds" if packets == 0 else "broken", f"{packets} {what}")
