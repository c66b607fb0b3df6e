"""The generator's receiving half: every frame ends in exactly one counter."""

from __future__ import annotations

from typing import Any

from harness.dataplane.jit import compiled
from harness.dataplane.libc import clock_ns
from harness.dataplane.port import receive_burst, send_burst
from loadgen import status as page
from loadgen.arp import answer_request
from loadgen.clock import arrival_ns, monotonic_minus_realtime_ns
from loadgen.generator_state import (
    ARP_PACKETS,
    BAD_CHECKSUM,
    BURST_PACKETS,
    ECHO_DUPLICATES,
    ECHO_REPLIES,
    FOREIGN,
    LATE_PACKETS,
    MALFORMED,
    MISDIRECTED,
    NO_CELL,
    RECEIVED_FRAMES,
    SERVER_DUPLICATES,
    SERVER_REPLIES,
)
from loadgen.payload import ARP, CELL, FLOW, INTENDED_NS, KIND, KIND_REPLY, KIND_SERVER, OURS, SEQ, classify
from loadgen.payload import BAD_CHECKSUM as BAD_CHECKSUM_FRAME
from loadgen.payload import FOREIGN as FOREIGN_FRAME
from loadgen.wire import (
    ETHERNET_BYTES,
    IP_DESTINATION,
    IP_SOURCE,
    IP_TOTAL_LENGTH,
    UDP_DESTINATION,
    UDP_SOURCE,
    get16,
    get32,
    get64,
    signed,
)

RTT_LATE_NS = 15_000_000


@compiled
def addressed_to_flow(frame: Any, flow: int, flows: Any) -> bool:
    """Whether the packet comes from the flow's echo address and port and goes to the flow's own."""
    matches: bool = (
        get32(frame, IP_SOURCE) == flows.echo_ip[flow]
        and get32(frame, IP_DESTINATION) == flows.interior_ip[flow]
        and get16(frame, UDP_SOURCE) == flows.echo_port[flow]
        and get16(frame, UDP_DESTINATION) == flows.interior_port[flow]
    )
    return matches


@compiled
def take_cell(frame: Any, flow: int, record: Any) -> int:
    """The cell the gateway wrote; an announcement that waited for it is confirmed."""
    cell = get16(frame, CELL)
    if record.awaited_cell[flow] == cell:
        record.awaited_cell[flow] = NO_CELL
    return cell


@compiled
def accept_reply(frame: Any, arrived_ns: int, plan: Any, flows: Any, record: Any, words: Any) -> int:
    """Record an echo reply of this run; returns the counter it belongs to."""
    flow, seq = get32(frame, FLOW), get64(frame, SEQ)
    if flow >= flows.echo_ip.shape[0] or seq < 0 or seq >= plan.flow.shape[0]:
        return MISDIRECTED
    if signed(plan.flow[seq]) != flow or record.sent_ns[seq] == 0 or not addressed_to_flow(frame, flow, flows):
        return MISDIRECTED
    if get64(frame, INTENDED_NS) != plan.intended_ns[seq]:
        return MISDIRECTED
    if get16(frame, IP_TOTAL_LENGTH) + ETHERNET_BYTES != signed(plan.frame_bytes[seq]):
        return MISDIRECTED
    if record.received_ns[seq] == 0:
        record.reply_cell[seq] = take_cell(frame, flow, record)
    return record_reply(seq, flow, arrived_ns, plan, record, words)


@compiled
def record_reply(seq: int, flow: int, arrived_ns: int, plan: Any, record: Any, words: Any) -> int:
    """Record the reply to packet `seq`, which is known to be one; returns the counter it belongs to."""
    if record.received_ns[seq] != 0:
        if record.duplicates[seq] < 65535:
            record.duplicates[seq] += 1
        return ECHO_DUPLICATES
    record.received_ns[seq] = arrived_ns
    if seq < record.reply_highest[flow]:
        record.flow_reordered[flow] += 1
    else:
        record.reply_highest[flow] = seq
    status = words.status
    if seq < words.cursor[1]:
        # Already given up as lost: it was only very late.
        status[page.LOST_ESTIMATE] -= 1
    rtt_ns = arrived_ns - plan.intended_ns[seq]
    status[page.CURRENT_RECEIVED] += 1
    status[page.CURRENT_RTT_SUM_NS] += rtt_ns
    if rtt_ns > status[page.CURRENT_RTT_MAX_NS]:
        status[page.CURRENT_RTT_MAX_NS] = rtt_ns
    if rtt_ns > RTT_LATE_NS:
        words.counters[LATE_PACKETS] += 1
        status[page.CURRENT_LATE] += 1
    return ECHO_REPLIES


@compiled
def accept_server_packet(frame: Any, arrived_ns: int, flows: Any, record: Any) -> int:
    """Record a server-originated packet of this run; returns the counter it belongs to."""
    flow, seq = get32(frame, FLOW), get64(frame, SEQ)
    if flow >= flows.echo_ip.shape[0] or seq < 0 or seq >= record.server_received_ns.shape[0]:
        return MISDIRECTED
    if not addressed_to_flow(frame, flow, flows):
        return MISDIRECTED
    if record.server_received_ns[seq] != 0:
        if record.server_duplicates[seq] < 65535:
            record.server_duplicates[seq] += 1
        return SERVER_DUPLICATES
    record.server_received_ns[seq] = arrived_ns
    record.server_cell[seq] = take_cell(frame, flow, record)
    if seq < record.server_highest[flow]:
        record.flow_reordered[flow] += 1
    else:
        record.server_highest[flow] = seq
    return SERVER_REPLIES


@compiled
def counter_of_other(kind: int) -> int:
    """The counter of a frame that `classify` does not call OURS."""
    if kind == ARP:
        return ARP_PACKETS
    if kind == FOREIGN_FRAME:
        return FOREIGN
    if kind == BAD_CHECKSUM_FRAME:
        return BAD_CHECKSUM
    return MALFORMED


@compiled
def count_frame(fd: int, slot: int, counter: int, wire: Any, words: Any) -> None:
    """Count the frame in receive slot `slot`; ARP is answered now."""
    words.counters[counter] += 1
    if counter == ARP_PACKETS:
        answer_bytes = answer_request(wire.rx_frames[slot], wire.rx.lengths[slot], wire.mac, wire.hosts)
        if answer_bytes > 0:
            wire.answer.slots[0] = slot
            wire.answer.lengths[0] = answer_bytes
            send_burst(fd, 1, wire.rx_frames, wire.answer)


@compiled
def accept_frame(
    slot: int, length: int, arrived_ns: int, run: int, plan: Any, flows: Any, record: Any, wire: Any, words: Any
) -> int:
    """Classify and record the frame in receive slot `slot`; returns its counter (ARP is not yet answered)."""
    frame = wire.rx_frames[slot]
    kind = classify(frame, wire.rx_words[slot], length, run)
    if kind == OURS:
        if frame[KIND] == KIND_REPLY:
            return accept_reply(frame, arrived_ns, plan, flows, record, words)
        if frame[KIND] == KIND_SERVER:
            return accept_server_packet(frame, arrived_ns, flows, record)
        return MISDIRECTED
    return counter_of_other(kind)


@compiled
def receive(fd: int, run: int, extra_latency_ns: int, plan: Any, flows: Any, record: Any, wire: Any, words: Any) -> int:
    """Receive and record one burst, answer ARP; returns how many frames came."""
    n: int = receive_burst(fd, BURST_PACKETS, wire.rx_frames, wire.rx)
    if n == 0:
        return n
    difference_ns = monotonic_minus_realtime_ns(words.scratch)
    now_ns = clock_ns(1, words.scratch)
    words.counters[RECEIVED_FRAMES] += n
    for i in range(n):
        arrived_ns = arrival_ns(wire.rx.arrivals_ns[i], difference_ns, now_ns) + extra_latency_ns
        length = wire.rx.lengths[i]
        counter = accept_frame(i, length, arrived_ns, run, plan, flows, record, wire, words)
        count_frame(fd, i, counter, wire, words)
    return n
