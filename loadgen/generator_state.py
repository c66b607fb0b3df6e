"""Memory of the generator's loop: what it reads, what it records, and its frames."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from harness.dataplane.port import Vectors, make_vectors
from loadgen.control import CONTROL_WORDS
from loadgen.flows import Flows
from loadgen.payload import TEMPLATE_BYTES, make_filler_sums, make_frames
from loadgen.status import WORDS
from loadgen.wire import SLOT_BYTES

BURST_PACKETS = 64
NO_CELL = -1
WAKE_LEAD_NS = 4
"""Place in `cursor`."""

(
    SENT_PACKETS,
    SEND_RETRIES,
    REFUSED_BY_KERNEL,
    RECEIVED_FRAMES,
    ECHO_REPLIES,
    ECHO_DUPLICATES,
    SERVER_REPLIES,
    SERVER_DUPLICATES,
    ARP_PACKETS,
    MALFORMED,
    FOREIGN,
    BAD_CHECKSUM,
    MISDIRECTED,
    LATE_PACKETS,
    ITERATIONS,
    SLEEPS,
) = range(16)

COUNTER_NAMES = {
    "sent_packets": SENT_PACKETS,
    "send_retries": SEND_RETRIES,
    "refused_by_kernel_packets": REFUSED_BY_KERNEL,
    "received_frames": RECEIVED_FRAMES,
    "echo_replies_packets": ECHO_REPLIES,
    "echo_duplicates_packets": ECHO_DUPLICATES,
    "server_received_packets": SERVER_REPLIES,
    "server_duplicates_packets": SERVER_DUPLICATES,
    "arp_packets": ARP_PACKETS,
    "malformed_packets": MALFORMED,
    "foreign_packets": FOREIGN,
    "bad_checksum_packets": BAD_CHECKSUM,
    "misdirected_packets": MISDIRECTED,
    "late_packets": LATE_PACKETS,
    "loop_iterations": ITERATIONS,
    "loop_sleeps": SLEEPS,
}
"""received_frames = echo_replies + echo_duplicates + server_received + server_duplicates + arp + malformed + foreign +
bad_checksum + misdirected (a packet of this run at an address, size or time that is not its own)."""


DUPLICATE_COUNTERS = (ECHO_DUPLICATES, SERVER_DUPLICATES)
REFUSED_COUNTERS = (MALFORMED, FOREIGN, BAD_CHECKSUM, MISDIRECTED)


class Plan(NamedTuple):
    """intended_ns: int64[N] (offsets until the start is known), flow: uint32[N], frame_bytes: uint16[N], tag:
    uint32[N] (cell tag, loadgen.payload)."""

    intended_ns: Any
    flow: Any
    frame_bytes: Any
    tag: Any


class Record(NamedTuple):
    """Of each packet: sent_ns, received_ns int64[N], duplicates uint16[N], tag uint32[N] (the cell tag it was sent
    with), reply_cell uint16[N]; server_received_ns int64[M], server_duplicates uint16[M], server_cell uint16[M].
    Of each flow: flow_reordered uint32[F] (replies and server packets, each against its own kind), the highest seq
    received so far of either, int64[F] (-1: none), and awaited_cell int64[F], announced until confirmed (or NO_CELL).
    """

    sent_ns: Any
    received_ns: Any
    duplicates: Any
    tag: Any
    reply_cell: Any
    server_received_ns: Any
    server_duplicates: Any
    server_cell: Any
    flow_reordered: Any
    reply_highest: Any
    server_highest: Any
    awaited_cell: Any


class Wire(NamedTuple):
    """Frames and vectors: tx_words and rx_words are the same memory as int64 and uint32; mac: uint8[6]; hosts:
    uint32[H]; filler_sums: int64[]."""

    tx_frames: Any
    tx_words: Any
    tx: Vectors
    rx_frames: Any
    rx_words: Any
    rx: Vectors
    answer: Vectors
    filler_sums: Any
    mac: Any
    hosts: Any


class Words(NamedTuple):
    """control: int64[8] (loadgen.control), written by the commands' thread; status: the page; counters: int64[16];
    scratch: int64[2]; cursor: int64[5] = next packet to send, next packet whose loss is judged, 100 ms slot under way,
    packets due, lead of the wake-ups."""

    control: Any
    status: Any
    counters: Any
    scratch: Any
    cursor: Any


def make_record(packets: int, server_packets: int, flows: int) -> Record:
    """Empty record, its memory touched now and not in the hot loop."""
    record = Record(
        sent_ns=np.empty(packets, np.int64),
        received_ns=np.empty(packets, np.int64),
        duplicates=np.empty(packets, np.uint16),
        tag=np.empty(packets, np.uint32),
        reply_cell=np.empty(packets, np.uint16),
        server_received_ns=np.empty(server_packets, np.int64),
        server_duplicates=np.empty(server_packets, np.uint16),
        server_cell=np.empty(server_packets, np.uint16),
        flow_reordered=np.empty(flows, np.uint32),
        reply_highest=np.empty(flows, np.int64),
        server_highest=np.empty(flows, np.int64),
        awaited_cell=np.empty(flows, np.int64),
    )
    for array in record:
        array.fill(0)
    record.reply_highest.fill(-1)
    record.server_highest.fill(-1)
    record.awaited_cell.fill(NO_CELL)
    return record


def make_wire(mac: bytes, hosts: Any) -> Wire:
    """Frames and vectors for bursts; hosts: uint32[H]."""
    tx_frames = make_frames(BURST_PACKETS)
    rx_frames = np.zeros((BURST_PACKETS, SLOT_BYTES), np.uint8)
    wire = Wire(
        tx_frames=tx_frames,
        tx_words=tx_frames.view(np.int64),
        tx=make_vectors(BURST_PACKETS),
        rx_frames=rx_frames,
        rx_words=rx_frames.view(np.uint32),
        rx=make_vectors(BURST_PACKETS),
        answer=make_vectors(1),
        filler_sums=make_filler_sums(),
        mac=np.frombuffer(bytearray(mac), np.uint8),
        hosts=hosts,
    )
    for vectors in (wire.tx, wire.rx):
        vectors.slots[:] = np.arange(BURST_PACKETS)
    return wire


def make_words(status: Any | None = None) -> Words:
    """Control, counters and status (a page of its own where none is given)."""
    return Words(
        control=np.zeros(CONTROL_WORDS, np.int64),
        status=np.zeros(WORDS, np.int64) if status is None else status,
        counters=np.zeros(16, np.int64),
        scratch=np.zeros(2, np.int64),
        cursor=np.zeros(5, np.int64),
    )


def example_arguments() -> tuple[Plan, Flows, Record, Wire, Words]:
    """Arguments of the right types, from which the loop's signature is taken."""
    plan = Plan(np.zeros(1, np.int64), np.zeros(1, np.uint32), np.zeros(1, np.uint16), np.zeros(1, np.uint32))
    column = np.zeros(1, np.int64)
    flows = Flows(column, column, column, column, np.zeros((1, TEMPLATE_BYTES // 8), np.int64), column, column)
    return plan, flows, make_record(1, 1, 1), make_wire(bytes(6), np.zeros(1, np.uint32)), make_words()
