"""The generator's loop: open-loop pacing from intended send times, and everything that comes back.

A packet is due at its intended time and is sent then or, when the loop is late, as soon as it can be; none is skipped
and no reply is waited for. RTT counts from the intended time, so that the generator's own lateness cannot hide.
"""

from __future__ import annotations

from typing import Any

from numba import typeof, types

from harness.dataplane.jit import compiled, compiled_as
from harness.dataplane.libc import clock_ns
from harness.dataplane.tick import sleep_towards_ns
from loadgen import status as page
from loadgen.control import REPEAT_ANNOUNCEMENTS, START_NS, STOP
from loadgen.generator_receive import receive
from loadgen.generator_state import (
    BURST_PACKETS,
    DUPLICATE_COUNTERS,
    ECHO_REPLIES,
    ITERATIONS,
    LATE_PACKETS,
    REFUSED_BY_KERNEL,
    REFUSED_COUNTERS,
    SEND_RETRIES,
    SENT_PACKETS,
    SERVER_REPLIES,
    SLEEPS,
    WAKE_LEAD_NS,
    example_arguments,
)
from loadgen.payload import ANNOUNCES, CELL_SHIFT, complete
from loadgen.transmit import send_prefix
from loadgen.wire import signed

IDLE_SLEEP_NS = 1_000_000
LOST_AFTER_NS = 500_000_000
"""For the live view only: a packet not back after this long is counted as lost until it comes."""


@compiled
def tag_to_send(seq: int, flow: int, plan: Any, record: Any, words: Any) -> int:
    """The cell tag of packet `seq`: as planned, and announcing while the flow's announcement is not yet confirmed where
    control[REPEAT_ANNOUNCEMENTS] asks for that."""
    tag = signed(plan.tag[seq])
    if words.control[REPEAT_ANNOUNCEMENTS] != 0:
        if tag & ANNOUNCES:
            record.awaited_cell[flow] = tag >> CELL_SHIFT
        elif record.awaited_cell[flow] == tag >> CELL_SHIFT:
            tag |= ANNOUNCES
    return tag


@compiled
def send_prepared(fd: int, count: int, record: Any, wire: Any, words: Any) -> int:
    """Send the first `count` transmit slots, which hold the next packets of the load; returns how many left."""
    first = words.cursor[0]
    sent_ns = clock_ns(1, words.scratch)
    # A reply may overtake the bookkeeping on another core, but is only read by this thread, after this.
    sent: int = send_prefix(fd, count, wire.tx_frames, wire.tx)
    if sent < 0:
        # Refused for good (an interface that went away, say): never sent; the next packets get their chance.
        words.counters[REFUSED_BY_KERNEL] += 1
        words.cursor[0] += 1
        return 0
    if sent < count:
        words.counters[SEND_RETRIES] += 1
    for i in range(sent):
        record.sent_ns[first + i] = sent_ns
    words.cursor[0] += sent
    words.counters[SENT_PACKETS] += sent
    words.status[page.CURRENT_SENT] += sent
    return sent


@compiled
def send_due(fd: int, now_ns: int, plan: Any, flows: Any, record: Any, wire: Any, words: Any) -> int:
    """Send up to one burst of the packets due at `now_ns`; returns how many left (0: none due, or no room)."""
    first = words.cursor[0]
    intended_ns = plan.intended_ns
    limit = min(first + BURST_PACKETS, intended_ns.shape[0])
    count = 0
    while first + count < limit and intended_ns[first + count] <= now_ns:
        seq = first + count
        flow = signed(plan.flow[seq])
        for k in range(flows.template.shape[1]):
            wire.tx_words[count, k] = flows.template[flow, k]
        frame_bytes = signed(plan.frame_bytes[seq])
        sums = (flows.ip_sum[flow], flows.udp_sum[flow])
        tag = tag_to_send(seq, flow, plan, record, words)
        record.tag[seq] = tag
        complete(wire.tx_frames[count], frame_bytes, (tag, seq, intended_ns[seq]), sums, wire.filler_sums)
        wire.tx.lengths[count] = frame_bytes
        count += 1
    if count == 0:
        return count
    return send_prepared(fd, count, record, wire, words)


@compiled
def publish(now_ns: int, start_ns: int, plan: Any, record: Any, words: Any) -> None:
    """Bring the status page up to date."""
    status, counters, cursor = words.status, words.counters, words.cursor
    packets = plan.intended_ns.shape[0]
    status[page.NOW_NS] = now_ns
    status[page.SENT] = counters[SENT_PACKETS]
    status[page.RECEIVED] = counters[ECHO_REPLIES]
    status[page.LATE] = counters[LATE_PACKETS]
    status[page.SERVER_PACKETS] = counters[SERVER_REPLIES]
    status[page.PENDING] = counters[SENT_PACKETS] - counters[ECHO_REPLIES]
    status[page.DUPLICATES] = 0
    for counter in DUPLICATE_COUNTERS:
        status[page.DUPLICATES] += counters[counter]
    status[page.REFUSED_FRAMES] = 0
    for counter in REFUSED_COUNTERS:
        status[page.REFUSED_FRAMES] += counters[counter]
    while cursor[1] < cursor[0] and plan.intended_ns[cursor[1]] < now_ns - LOST_AFTER_NS:
        if record.received_ns[cursor[1]] == 0:
            status[page.LOST_ESTIMATE] += 1
        cursor[1] += 1
    while cursor[3] < packets and plan.intended_ns[cursor[3]] <= now_ns:
        cursor[3] += 1
    status[page.DUE] = cursor[3]
    slot = (now_ns - start_ns) // page.SLOT_NS
    if slot > cursor[2]:
        for k in range(5):
            status[page.SLOT_SENT + k] = status[page.CURRENT_SENT + k]
            status[page.CURRENT_SENT + k] = 0
        status[page.SLOT_INDEX] = cursor[2]
        cursor[2] = slot


_SIGNATURE = types.void(
    types.int64, types.int64, types.int64, types.int64, types.int64, *(typeof(value) for value in example_arguments())
)


@compiled_as(_SIGNATURE)
def run_generator(
    fd: int,
    run: int,
    extra_latency_ns: int,
    drain_ns: int,
    tick_ns: int,
    plan: Any,
    flows: Any,
    record: Any,
    wire: Any,
    words: Any,
) -> None:
    """Answer ARP until control[START_NS] is set, run the load, receive until `drain_ns` after its last packet was due.

    control[STOP] ends it between two bursts. `plan.intended_ns` must hold times, not offsets, once START_NS is set.
    Arrivals get `extra_latency_ns` added (what remains of the last link's latency). Never raises.
    """
    control = words.control
    last = plan.intended_ns.shape[0] - 1
    while control[STOP] == 0:
        words.counters[ITERATIONS] += 1
        start_ns = control[START_NS]
        now_ns = clock_ns(1, words.scratch)
        sent = 0
        if start_ns > 0:
            if now_ns > plan.intended_ns[last] + drain_ns:
                break
            sent = send_due(fd, now_ns, plan, flows, record, wire, words)
        received = receive(fd, run, extra_latency_ns, plan, flows, record, wire, words)
        if start_ns > 0:
            words.status[page.PHASE] = 1 if words.cursor[0] <= last else 2
            if now_ns >= start_ns:
                publish(now_ns, start_ns, plan, record, words)
        if sent == 0 and received == 0:
            wake_ns = now_ns + IDLE_SLEEP_NS
            if start_ns > 0 and words.cursor[0] <= last:
                # Packets due within a tick leave together; further apart, each wakes the loop itself.
                wake_ns = max(now_ns + tick_ns, min(wake_ns, plan.intended_ns[words.cursor[0]]))
            words.counters[SLEEPS] += 1
            # Woken before its time, it looks again at once: nothing is sent early.
            sleep_towards_ns(wake_ns, words.cursor, WAKE_LEAD_NS, tick_ns, words.scratch)
    words.status[page.PHASE] = 3
