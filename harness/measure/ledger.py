"""The ledger: every intended packet ends in exactly one row, and the rows sum to the number intended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.measure.admission import apportion
from harness.measure.cells import BoolArray
from harness.measure.histogram import LATE_EDGE_NS
from harness.measure.hops import CAUSES, LOADGEN_RECEIVED, HopBalance, HopCounters, hop_balances
from harness.measure.packets import Int64Array, PacketRecords

ROWS = ("delivered", "late", *CAUSES, "unexplained")
REFUSAL_PREFIX = "vnf_refusal:"


@dataclass(frozen=True)
class LedgerRow:
    """Packets of both kinds that ended one way; `reasons` splits the row (vnf_refusal only) and sums to it."""

    name: str
    echo_packets: int
    server_packets: int
    reasons: tuple[LedgerRow, ...] = ()

    @property
    def total_packets(self) -> int:
        return self.echo_packets + self.server_packets


@dataclass(frozen=True)
class Ledger:
    """One row per name of ROWS, in that order, and the balance of every hop.

    `overexplained`: more drops were counted than packets lost, somewhere; an error of the accounting, shown even when
    another hop's missing packets hide it in the sum.
    """

    echo_intended_packets: int
    server_intended_packets: int
    rows: tuple[LedgerRow, ...]
    hops: tuple[HopBalance, ...]
    duplicate_packets: int
    overexplained: bool

    @property
    def intended_packets(self) -> int:
        return self.echo_intended_packets + self.server_intended_packets

    def row(self, name: str) -> LedgerRow:
        """The row of that name; KeyError when there is none."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    @property
    def balanced(self) -> bool:
        """The rows sum to the intended packets in both columns."""
        return (
            sum(row.echo_packets for row in self.rows) == self.echo_intended_packets
            and sum(row.server_packets for row in self.rows) == self.server_intended_packets
        )

    @property
    def explained(self) -> bool:
        """Every loss has a named cause, at every hop."""
        unexplained = self.row("unexplained")
        return self.balanced and not self.overexplained and unexplained.echo_packets == unexplained.server_packets == 0


def attribute(
    records: PacketRecords,
    hops: HopCounters,
    *,
    late_ns: int = LATE_EDGE_NS,
    server_late_ns: int | None = None,
) -> Ledger:
    """Put every intended packet in one row.

    Known packet by packet: delivered, late (RTT > late_ns; a server-originated packet passes half the path, so by
    default its one-way delay > late_ns / 2), not_sent, wrong_cell (it arrived, but where the subscriber no longer was:
    harness.measure.cells). Every other loss is known by count, hop by hop:

    1. loadgen -> [meter in] -> interior port: sent, but neither read from the port nor dropped by its socket. `meter`
       up to the drops of the tbf towards the instances, then `queue` up to the softnet drops. Socket drops: `queue`.
    2. VNF: read but not sent. pkt_q_overflow, st_q_out_overflow, vnf_refusal by reason, destination_not_ready,
       source_stopped as the instances count them; `meter` is what the kernel refused to send (ENOBUFS).
    3. [meter out] -> echoserver: socket and softnet drops are `queue`.
    4. echoserver: received but not sent back is echo_tx_failed.
    5. echoserver -> [meter in] -> exterior port: as 1, for replies and server-originated packets together.
    6. VNF -> [meter out] -> loadgen: as 2 and 3.

    Whatever a hop cannot name is its residual: unexplained = lost - sum(causes) = sum(residuals) + duplicates.

    Links may lose frames on purpose: `impairment` (loss, corruption) and `link_down` are what vanished on a wire up to
    what the link there admits to. Where links also duplicate on purpose, drops are of copies, too, and copies fill the
    gaps of drops: see `_without_copies`.

    The total of a row is exact. Both kinds share hops 2, 5 and 6, whose counters do not tell them apart: what was
    dropped there is apportioned to the columns in proportion to what either kind still misses (largest remainder). With
    one cause at work, or with nothing unexplained and one kind lost, that too is exact.
    """
    if server_late_ns is None:
        server_late_ns = late_ns // 2
    echo = _outcomes(records.intended_ns, records.sent_ns, records.received_ns, records.wrong_cell, late_ns)
    server = _outcomes(
        records.server_intended_ns,
        records.server_sent_ns,
        records.server_received_ns,
        records.server_wrong_cell,
        server_late_ns,
    )
    duplicates = int(records.duplicates.sum(dtype=np.int64)) + int(records.server_duplicates.sum(dtype=np.int64))
    wrong_cell = echo["wrong_cell"] + server["wrong_cell"]
    delivered_frames = echo["arrived"] + server["arrived"] - wrong_cell + duplicates
    balances = hop_balances(hops, echo["sent"] + server["sent"], delivered_frames, wrong_cell)

    echo_causes: dict[str, int] = {}
    shared: dict[str, int] = {}
    for balance in balances:
        if balance.name == LOADGEN_RECEIVED:
            continue  # known packet by packet
        column = echo_causes if balance.echo_only else shared
        for cause, packets in balance.drops.items():
            column[cause] = column.get(cause, 0) + packets
    if hops.duplicates_by_design:
        echo_lost = echo["sent"] - echo["arrived"]
        _without_copies(balances, hops, duplicates, echo_lost, echo_causes, shared)
    echo_missing = echo["sent"] - echo["arrived"] - sum(echo_causes.values())
    server_missing = server["sent"] - server["arrived"]
    server_causes = _server_share(shared, max(0, echo_missing), server_missing)
    for cause, packets in shared.items():
        echo_causes[cause] = echo_causes.get(cause, 0) + packets - server_causes[cause]
    for cause in ("not_sent", "wrong_cell"):
        echo_causes[cause], server_causes[cause] = echo[cause], server[cause]

    rows = [LedgerRow(name, echo[name], server[name]) for name in ("delivered", "late")]
    rows += [_cause_row(cause, echo_causes, server_causes) for cause in CAUSES]
    unexplained = LedgerRow(
        "unexplained",
        records.packets - sum(row.echo_packets for row in rows),
        records.server_packets - sum(row.server_packets for row in rows),
    )
    appeared = -sum(min(0, balance.residual_packets) for balance in balances)
    return Ledger(
        echo_intended_packets=records.packets,
        server_intended_packets=records.server_packets,
        rows=(*rows, unexplained),
        hops=tuple(balances),
        duplicate_packets=duplicates,
        # A packet that was duplicated on the way appears at one hop: that many residuals below 0 are accounted for.
        overexplained=min(unexplained.echo_packets, unexplained.server_packets) < 0
        or (appeared > duplicates and not hops.duplicates_by_design),
    )


def _without_copies(
    balances: Sequence[HopBalance],
    hops: HopCounters,
    duplicates: int,
    echo_lost: int,
    echo_causes: dict[str, int],
    shared: dict[str, int],
) -> None:
    """Take the drops of copies out of the causes, or put in the drops that copies hide.

    Frames that appear on a wire are copies. Those that did not arrive as duplicates were dropped further on, so that
    many drops were no packet's end: they are taken out in proportion, but so that where only echo requests pass no more
    are left than were lost (echo_lost). Where fewer appeared than arrived, copies have
    made up for drops on the same wire, which are named by what its links admit to beyond what is named already.
    """
    appeared = sum(balance.duplicated_packets - min(0, balance.residual_packets) for balance in balances)
    lost_copies = appeared - duplicates
    if lost_copies > 0:
        of_echo, of_both = sum(echo_causes.values()), sum(shared.values())
        if of_echo + of_both == 0:
            return
        lost_copies = min(lost_copies, of_echo + of_both)
        least = max(0, of_echo - echo_lost, lost_copies - of_both)
        from_echo = min(max(lost_copies * of_echo // (of_echo + of_both), least), lost_copies, of_echo)
        for column, taken in ((echo_causes, from_echo), (shared, lost_copies - from_echo)):
            parts = apportion(taken, list(column.values()))
            for cause, packets in zip(list(column), parts, strict=True):
                column[cause] -= packets
        return
    hidden = -lost_copies
    for bound in hops.all_bounds():
        named = sum(balance.drops.get(bound.cause, 0) for balance in balances if balance.name in bound.wires)
        packets = min(hidden, max(0, bound.packets - named))
        shared[bound.cause] = shared.get(bound.cause, 0) + packets
        hidden -= packets


def _outcomes(
    intended_ns: Int64Array, sent_ns: Int64Array, received_ns: Int64Array, wrong_cell: BoolArray, late_ns: int
) -> dict[str, int]:
    arrived = received_ns > 0
    late = int(np.count_nonzero(arrived & ~wrong_cell & (received_ns - intended_ns > late_ns)))
    total, wrong = int(np.count_nonzero(arrived)), int(np.count_nonzero(wrong_cell))
    sent = int(np.count_nonzero(sent_ns > 0))
    return {
        "arrived": total,
        "delivered": total - late - wrong,
        "late": late,
        "wrong_cell": wrong,
        "sent": sent,
        "not_sent": int(intended_ns.size) - sent,
    }


def _server_share(shared: Mapping[str, int], echo_missing: int, server_missing: int) -> dict[str, int]:
    """Of each shared cause, the packets laid to server-originated ones: never more than they miss."""
    pool = sum(shared.values())
    missing = echo_missing + server_missing
    share = 0
    if missing > 0:
        share = min(pool, server_missing, (2 * pool * server_missing + missing) // (2 * missing))
    return dict(zip(shared, apportion(share, list(shared.values())), strict=True))


def _cause_row(cause: str, echo: Mapping[str, int], server: Mapping[str, int]) -> LedgerRow:
    if cause != "vnf_refusal":
        return LedgerRow(cause, echo.get(cause, 0), server.get(cause, 0))
    reasons = tuple(
        LedgerRow(name.removeprefix(REFUSAL_PREFIX), echo.get(name, 0), server.get(name, 0))
        for name in sorted(set(echo) | set(server))
        if name.startswith(REFUSAL_PREFIX)
    )
    echo_packets = sum(row.echo_packets for row in reasons)
    return LedgerRow(cause, echo_packets, sum(row.server_packets for row in reasons), reasons)
