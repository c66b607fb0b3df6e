"""What every engine does with frames whatever the image: receive into the delay lines, transmit, release, publish."""

from __future__ import annotations

import numpy as np

from harness.dataplane import engine_state as es
from harness.dataplane.byte_ring import DEPTH_MAX, PUT, TAKEN
from harness.dataplane.engine_state import EngineState
from harness.dataplane.jit import Int, compiled
from harness.dataplane.port import receive_burst, send_burst
from harness.dataplane.trace import LOST

DRAIN_ETHERTYPE_HIGH, DRAIN_ETHERTYPE_LOW = 0x88, 0xB5


@compiled
def port_word(port: Int, word: Int) -> Int:
    return es.PORTS_AT + port * es.PORT_WORDS + word


@compiled
def release(engine: EngineState, slot: Int) -> None:
    engine.free[engine.free_top[0]] = np.uint32(slot)
    engine.free_top[0] += 1


@compiled
def flush(engine: EngineState, port: Int) -> None:
    """Transmit what waits for `port`; what the meter refuses is dropped and counted."""
    first, last = engine.transmit.head[port], engine.transmit.tail[port]
    count = last - first
    if count == 0:
        return
    status = engine.status
    sent_bytes = np.int64(0)
    for i in range(count):
        slot = engine.transmit.slots[port, i]
        engine.send.slots[i] = slot
        engine.send.lengths[i] = engine.lengths[slot]
        sent_bytes += engine.lengths[slot]
    send_burst(engine.fds[port], count, engine.frames, engine.send)
    status[port_word(port, es.TX_FRAMES)] += engine.send.result[0]
    status[port_word(port, es.TX_BYTES)] += sent_bytes
    status[port_word(port, es.TX_METER)] += engine.send.result[1]
    status[port_word(port, es.TX_FAILED)] += engine.send.result[2]
    for i in range(count):
        release(engine, engine.transmit.slots[port, i])
    engine.transmit.tail[port] = 0


@compiled
def flush_all(engine: EngineState) -> None:
    for port in range(engine.fds.shape[0]):
        flush(engine, port)


@compiled
def receive(engine: EngineState, port: Int, now_ns: Int, real_minus_monotonic_ns: Int) -> Int:
    """Receive one burst of `port` into its delay line; returns the number of frames."""
    status = engine.status
    capacity = engine.delay.slots.shape[1]
    tail = engine.delay.tail[port]
    room = capacity - (tail - engine.delay.head[port])
    limit = min(engine.control[es.BURST_AT], engine.receive.slots.shape[0], room, engine.free_top[0])
    if limit <= 0:
        status[port_word(port, es.DELAY_OVERFLOW)] += 1
        return 0
    top = engine.free_top[0]
    for i in range(limit):
        engine.receive.slots[i] = engine.free[top - 1 - i]
    n = receive_burst(engine.fds[port], limit, engine.frames, engine.receive)
    latency_ns = engine.control[es.LATENCY_NS_AT]
    for i in range(n):
        slot = engine.receive.slots[i]
        length = engine.receive.lengths[i]
        engine.lengths[slot] = np.int32(length)
        arrival_ns = engine.receive.arrivals_ns[i] - real_minus_monotonic_ns
        # Without a kernel timestamp, or with a wall clock just set, the moment of reading stands in.
        if engine.receive.arrivals_ns[i] == 0 or arrival_ns > now_ns or arrival_ns < now_ns - 1_000_000_000:
            arrival_ns = now_ns
        engine.mature_ns[slot] = arrival_ns + latency_ns
        engine.delay.slots[port, (tail + i) % capacity] = slot
        frame = engine.frames[slot]
        status[port_word(port, es.RX_BYTES)] += length
        kind = es.RX_OTHER
        if length >= 14:
            if frame[12] == 8 and frame[13] == 0:
                kind = es.RX_IPV4
            elif frame[12] == 8 and frame[13] == 6:
                kind = es.RX_ARP
            elif frame[12] == DRAIN_ETHERTYPE_HIGH and frame[13] == DRAIN_ETHERTYPE_LOW:
                kind = es.RX_DRAIN
        status[port_word(port, kind)] += 1
    status[port_word(port, es.RX_FRAMES)] += n
    engine.free_top[0] -= n
    engine.delay.tail[port] = tail + n
    return n


@compiled
def publish(engine: EngineState, now_ns: Int) -> None:
    """Bring the gauges of the status page up to date."""
    status = engine.status
    for port in range(engine.fds.shape[0]):
        status[port_word(port, es.PKT_Q_DEPTH)] = engine.pkt_q.tail[port] - engine.pkt_q.head[port]
        status[port_word(port, es.DELAY_DEPTH)] = engine.delay.tail[port] - engine.delay.head[port]
    ring = engine.statelet_ring.state
    status[es.ST_Q_DEPTH_AT] = ring[PUT] - ring[TAKEN]
    status[es.ST_Q_DEPTH_MAX_AT] = ring[DEPTH_MAX]
    status[es.FREE_SLOTS_AT] = engine.free_top[0]
    status[es.TRACE_LOST_AT] = engine.trace_ring.state[LOST]
    status[es.LOOPS_AT] += 1
    status[es.HEARTBEAT_NS_AT] = now_ns
