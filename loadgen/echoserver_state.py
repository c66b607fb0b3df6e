"""Memory of the echoserver's loop: addresses, what it records, and its frames."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from harness.dataplane.port import Vectors, make_vectors
from loadgen.control import CONTROL_WORDS
from loadgen.delay_line import DelayLine, make_delay_line
from loadgen.payload import make_filler_sums, make_frames
from loadgen.status import WORDS

BURST_PACKETS = 64
POOL_FRAMES = 8192
WAKE_LEAD_NS = 3
"""Place in `cursor`."""

(
    RECEIVED_FRAMES,
    ECHOED,
    TX_FAILED,
    ARP_PACKETS,
    MALFORMED,
    FOREIGN,
    BAD_CHECKSUM,
    MISDIRECTED,
    SERVER_SENT,
    SERVER_REFUSED,
    SERVER_RETRIES,
    MAPPING_CHANGES,
    ITERATIONS,
    SLEEPS,
) = range(14)

COUNTER_NAMES = {
    "received_frames": RECEIVED_FRAMES,
    "echoed_packets": ECHOED,
    "tx_failed_packets": TX_FAILED,
    "arp_packets": ARP_PACKETS,
    "malformed_packets": MALFORMED,
    "foreign_packets": FOREIGN,
    "bad_checksum_packets": BAD_CHECKSUM,
    "misdirected_packets": MISDIRECTED,
    "server_sent_packets": SERVER_SENT,
    "server_refused_by_kernel_packets": SERVER_REFUSED,
    "server_send_retries": SERVER_RETRIES,
    "mapping_changes": MAPPING_CHANGES,
    "loop_iterations": ITERATIONS,
    "loop_sleeps": SLEEPS,
}
"""received_frames = echoed + tx_failed (echo replies the kernel refused) + arp + malformed + foreign + bad_checksum +
misdirected (a request of this run at an address or port that is not ours, or for a flow that does not exist) + frames
still in the delay line at the end (`unprocessed_frames` in the report)."""


REFUSED_COUNTERS = (MALFORMED, FOREIGN, BAD_CHECKSUM, MISDIRECTED)


class Identity(NamedTuple):
    """mac, gateway_mac: uint8[6]; echo: uint32[E], echo addresses; answered: uint32[A], those whose ARP is answered."""

    mac: Any
    gateway_mac: Any
    echo: Any
    answered: Any


class FlowRecord(NamedTuple):
    """Of each flow: external_ip uint32[F] and external_port uint16[F] as first seen, mapping_changes uint32[F], packets
    uint64[F]; peer: int64[F, 4] = present external address and port, echo address and port; seen: uint32[F], flows in
    order of appearance."""

    external_ip: Any
    external_port: Any
    mapping_changes: Any
    packets: Any
    peer: Any
    seen: Any


class ServerRecord(NamedTuple):
    """Of each server-originated packet: intended_ns (offsets until the start), sent_ns int64[M]; flow uint32[M];
    frame_bytes uint16[M]."""

    intended_ns: Any
    sent_ns: Any
    flow: Any
    frame_bytes: Any


class Wire(NamedTuple):
    """Delay line and vectors; server_frames: uint8[BURST_PACKETS, SLOT_BYTES] with filler; filler_sums: int64[]."""

    line: DelayLine
    rx: Vectors
    tx: Vectors
    server_frames: Any
    server: Vectors
    filler_sums: Any


class Words(NamedTuple):
    """control: int64[8] (loadgen.control), written by the commands' thread; status: the page; counters: int64[16];
    scratch: int64[3]; cursor: int64[4] = next server packet, flows seen, state of the flow choice, lead of the
    wake-ups; burst: uint32[BURST_PACKETS], slots of the burst under way."""

    control: Any
    status: Any
    counters: Any
    scratch: Any
    cursor: Any
    burst: Any


def make_flow_record(flows: int) -> FlowRecord:
    """Empty record."""
    return FlowRecord(
        external_ip=np.zeros(flows, np.uint32),
        external_port=np.zeros(flows, np.uint16),
        mapping_changes=np.zeros(flows, np.uint32),
        packets=np.zeros(flows, np.uint64),
        peer=np.zeros((flows, 4), np.int64),
        seen=np.zeros(flows, np.uint32),
    )


def make_server_record(intended_ns: Any, frame_bytes: Any) -> ServerRecord:
    """Empty record for packets of `frame_bytes` due at `intended_ns`."""
    m = intended_ns.size
    return ServerRecord(intended_ns, np.zeros(m, np.int64), np.zeros(m, np.uint32), frame_bytes)


def make_identity(mac: bytes, gateway_mac: bytes, echo: Any, answered: Any) -> Identity:
    """Identity from addresses given as uint32 arrays."""
    own, gateway = (np.frombuffer(bytearray(value), np.uint8) for value in (mac, gateway_mac))
    return Identity(own, gateway, echo, answered)


def make_wire(pool_frames: int = POOL_FRAMES) -> Wire:
    """Frames and vectors for bursts."""
    wire = Wire(
        line=make_delay_line(pool_frames),
        rx=make_vectors(BURST_PACKETS),
        tx=make_vectors(BURST_PACKETS),
        server_frames=make_frames(BURST_PACKETS),
        server=make_vectors(BURST_PACKETS),
        filler_sums=make_filler_sums(),
    )
    wire.server.slots[:] = np.arange(BURST_PACKETS)
    return wire


def make_words(status: Any | None = None, seed: int = 0) -> Words:
    """Control, counters and status (a page of its own where none is given)."""
    words = Words(
        control=np.zeros(CONTROL_WORDS, np.int64),
        status=np.zeros(WORDS, np.int64) if status is None else status,
        counters=np.zeros(16, np.int64),
        scratch=np.zeros(3, np.int64),
        cursor=np.zeros(4, np.int64),
        burst=np.zeros(BURST_PACKETS, np.uint32),
    )
    words.cursor[2] = seed & 0x7FFFFFFF
    return words


def example_arguments() -> tuple[Identity, FlowRecord, ServerRecord, Wire, Words]:
    """Arguments of the right types, from which the loop's signature is taken."""
    addresses = np.zeros(1, np.uint32)
    server = make_server_record(np.zeros(1, np.int64), np.zeros(1, np.uint16))
    return (
        make_identity(bytes(6), bytes(6), addresses, addresses),
        make_flow_record(1),
        server,
        make_wire(1),
        make_words(),
    )
