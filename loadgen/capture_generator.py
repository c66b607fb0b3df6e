"""The capture generator's loop: as loadgen.generator, with packets of every kind that a capture holds."""

from __future__ import annotations

from typing import Any

from numba import typeof, types

from harness.dataplane.jit import compiled, compiled_as
from harness.dataplane.libc import clock_ns
from harness.dataplane.port import receive_burst
from harness.dataplane.tick import sleep_towards_ns
from loadgen import status as page
from loadgen.capture_frames import (
    IP_IDENTIFICATION,
    KIND_AT,
    TRANSPORT,
    classify,
    numbered_payload,
    read_numbers,
    write_packet,
)
from loadgen.capture_schedule import FIRST_PORT
from loadgen.capture_state import example_arguments
from loadgen.clock import arrival_ns, monotonic_minus_realtime_ns
from loadgen.control import START_NS, STOP
from loadgen.generator import IDLE_SLEEP_NS, publish, send_prepared
from loadgen.generator_receive import count_frame, counter_of_other, record_reply
from loadgen.generator_state import (
    BURST_PACKETS,
    ITERATIONS,
    MISDIRECTED,
    RECEIVED_FRAMES,
    SLEEPS,
    WAKE_LEAD_NS,
)
from loadgen.payload import KIND_REPLY, OURS
from loadgen.wire import (
    ETHERNET_BYTES,
    IP_DESTINATION,
    IP_PROTOCOL,
    IP_SOURCE,
    IP_TOTAL_LENGTH,
    get16,
    get32,
    signed,
)


@compiled
def send_due(fd: int, now_ns: int, plan: Any, templates: Any, flows: Any, record: Any, wire: Any, words: Any) -> int:
    """Send up to one burst of the packets due at `now_ns`; returns how many left (0: none due, or no room)."""
    first = words.cursor[0]
    intended_ns = plan.intended_ns
    limit = min(first + BURST_PACKETS, intended_ns.shape[0])
    count = 0
    while first + count < limit and intended_ns[first + count] <= now_ns:
        seq = first + count
        flow = signed(plan.flow[seq])
        addresses = (flows.interior_ip[flow], flows.echo_ip[flow], flows.interior_port[flow])
        labels = (signed(plan.place[seq]) & 0xFFFF, flow, seq, intended_ns[seq])
        write_packet(
            wire.tx_frames[count], wire.tx_words[count], signed(plan.template[seq]), addresses, labels, templates
        )
        wire.tx.lengths[count] = signed(plan.frame_bytes[seq])
        count += 1
    if count == 0:
        return count
    sent: int = send_prepared(fd, count, record, wire, words)
    for i in range(sent):
        flows.following[signed(plan.flow[first + i])] = signed(plan.place[first + i]) + 1
    return sent


@compiled
def flow_of_reply(frame: Any, flows: Any, wire: Any) -> int:
    """The flow whose ends and protocol these are, -1 for none."""
    host = get32(frame, IP_DESTINATION) - signed(wire.hosts[0])
    place = get16(frame, TRANSPORT + 2) - FIRST_PORT
    if host < 0 or host >= flows.by_port.shape[0] or place < 0 or place >= flows.by_port.shape[1]:
        return -1
    flow = signed(flows.by_port[host, place])
    if flow < 0 or signed(frame[IP_PROTOCOL]) != flows.protocol[flow]:
        return -1
    if get32(frame, IP_SOURCE) != flows.echo_ip[flow] or get16(frame, TRANSPORT) != flows.echo_port[flow]:
        return -1
    return flow


@compiled
def sequence_of_reply(frame: Any, run: int, flow: int, plan: Any, templates: Any, flows: Any) -> int:
    """Which packet of the flow this is the reply to, by our payload or by its identification; -1 for none of them."""
    payload_at = numbered_payload(frame, run)
    if payload_at != 0:
        flow_written, seq, intended_ns = read_numbers(frame, payload_at)
        if flow_written != flow or frame[payload_at + KIND_AT] != KIND_REPLY:
            return -1
        if seq < 0 or seq >= plan.flow.shape[0] or plan.intended_ns[seq] != intended_ns:
            return -1
    else:
        # The last place that was sent and has this identification.
        place = flows.following[flow] - 1
        place -= (place - get16(frame, IP_IDENTIFICATION)) & 0xFFFF
        if flows.following[flow] == 0 or place < 0:
            return -1
        seq = signed(flows.order[flows.first[flow] + place])
    if signed(plan.flow[seq]) != flow or templates.payload_at[signed(plan.template[seq])] != payload_at:
        return -1
    return seq


@compiled
def accept_frame(
    slot: int,
    length: int,
    arrived_ns: int,
    run: int,
    plan: Any,
    templates: Any,
    flows: Any,
    record: Any,
    wire: Any,
    words: Any,
) -> int:
    """Classify and record the frame in receive slot `slot`; returns its counter (ARP is not yet answered)."""
    frame = wire.rx_frames[slot]
    kind = classify(frame, wire.rx_words[slot], length)
    if kind == OURS:
        flow = flow_of_reply(frame, flows, wire)
        if flow < 0:
            return MISDIRECTED
        seq = sequence_of_reply(frame, run, flow, plan, templates, flows)
        if seq < 0 or record.sent_ns[seq] == 0:
            return MISDIRECTED
        if get16(frame, IP_TOTAL_LENGTH) + ETHERNET_BYTES != signed(plan.frame_bytes[seq]):
            return MISDIRECTED
        return record_reply(seq, flow, arrived_ns, plan, record, words)
    return counter_of_other(kind)


@compiled
def receive(
    fd: int, run: int, extra_latency_ns: int, plan: Any, templates: Any, flows: Any, record: Any, wire: Any, words: Any
) -> int:
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
        counter = accept_frame(i, length, arrived_ns, run, plan, templates, flows, record, wire, words)
        count_frame(fd, i, counter, wire, words)
    return n


_SIGNATURE = types.void(*(types.int64,) * 5, *(typeof(value) for value in example_arguments()))


@compiled_as(_SIGNATURE)
def run_capture_generator(
    fd: int,
    run: int,
    extra_latency_ns: int,
    drain_ns: int,
    tick_ns: int,
    plan: Any,
    templates: Any,
    flows: Any,
    record: Any,
    wire: Any,
    words: Any,
) -> None:
    """As loadgen.generator.run_generator."""
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
            sent = send_due(fd, now_ns, plan, templates, flows, record, wire, words)
        received = receive(fd, run, extra_latency_ns, plan, templates, flows, record, wire, words)
        if start_ns > 0:
            words.status[page.PHASE] = 1 if words.cursor[0] <= last else 2
            if now_ns >= start_ns:
                publish(now_ns, start_ns, plan, record, words)
        if sent == 0 and received == 0:
            wake_ns = now_ns + IDLE_SLEEP_NS
            if start_ns > 0 and words.cursor[0] <= last:
                wake_ns = max(now_ns + tick_ns, min(wake_ns, plan.intended_ns[words.cursor[0]]))
            words.counters[SLEEPS] += 1
            # Woken before its time, it looks again at once: nothing is sent early.
            sleep_towards_ns(wake_ns, words.cursor, WAKE_LEAD_NS, tick_ns, words.scratch)
    words.status[page.PHASE] = 3
