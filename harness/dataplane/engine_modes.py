"""What becomes of a frame whose latency has passed, by mode, and how the drain packets stop the source."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.dataplane import engine_state as es
from harness.dataplane.byte_ring import CLOSED
from harness.dataplane.engine_ports import (
    DRAIN_ETHERTYPE_HIGH,
    DRAIN_ETHERTYPE_LOW,
    flush_all,
    port_word,
    release,
)
from harness.dataplane.engine_process import process
from harness.dataplane.engine_state import EngineState
from harness.dataplane.fence import release_fence
from harness.dataplane.jit import Int, compiled


@compiled
def _is_drain(engine: EngineState, frame: Any, length: Int, port: Int) -> Int:
    """A drain packet for this port with this run's token (anything else of its ethertype is not one)."""
    if length < 38 or frame[12] != DRAIN_ETHERTYPE_HIGH or frame[13] != DRAIN_ETHERTYPE_LOW or frame[20] != port:
        return False
    different = np.int64(0)
    for i in range(16):
        different |= np.int64(frame[22 + i] ^ engine.drain_token[i])
    return different == 0


@compiled
def _discard_pkt_q(engine: EngineState) -> None:
    """Back to standby (a switchover that was taken back): what waits here must not leave at a later activation."""
    for port in range(engine.fds.shape[0]):
        capacity = engine.pkt_q.slots.shape[1]
        while engine.pkt_q.head[port] != engine.pkt_q.tail[port]:
            release(engine, np.int64(engine.pkt_q.slots[port, engine.pkt_q.head[port] % capacity]))
            engine.pkt_q.head[port] += 1
            engine.status[port_word(port, es.NOT_READY)] += 1


@compiled
def set_mode(engine: EngineState, mode: Int, now_ns: Int) -> None:
    status = engine.status
    if mode == es.MODE_ACTIVE:
        status[es.ACTIVATED_NS_AT] = now_ns
        status[es.PKT_Q_DRAINED_NS_AT] = 0
    if mode == es.MODE_STOPPED:
        status[es.STOPPED_NS_AT] = now_ns
    if mode == es.MODE_STANDBY:
        _discard_pkt_q(engine)
    status[es.MODE_AT] = mode


@compiled
def _take_drain(engine: EngineState, port: Int, now_ns: Int) -> None:
    """Note the drain packet; on the last port's the committed source stops and closes st_q_out."""
    status = engine.status
    if status[port_word(port, es.DRAINED_NS)] == 0 and status[es.COMMITTED_AT] != 0:
        status[port_word(port, es.DRAINED_NS)] = now_ns
    for other in range(engine.fds.shape[0]):
        if status[port_word(other, es.DRAINED_NS)] == 0:
            return
    if status[es.MODE_AT] == es.MODE_ACTIVE and status[es.COMMITTED_AT] != 0:
        flush_all(engine)
        set_mode(engine, es.MODE_STOPPED, now_ns)
        release_fence()
        engine.statelet_ring.state[CLOSED] = 1


@compiled
def take_matured(
    engine: EngineState, announce: Any, install: Any, forward: Any, slot: Int, port: Int, now_ns: Int
) -> None:
    """Decide by mode what becomes of a frame whose latency has passed."""
    status = engine.status
    frame = engine.frames[slot]
    length = np.int64(engine.lengths[slot])
    if length >= 14 and frame[12] == DRAIN_ETHERTYPE_HIGH and frame[13] == DRAIN_ETHERTYPE_LOW:
        if _is_drain(engine, frame, length, port):
            _take_drain(engine, port, now_ns)
        release(engine, slot)
        return
    mode = status[es.MODE_AT]
    queued = engine.pkt_q.tail[port] - engine.pkt_q.head[port]
    if mode == es.MODE_BUFFERING or (mode == es.MODE_ACTIVE and queued > 0):
        capacity = engine.pkt_q.slots.shape[1]
        if queued >= capacity:
            status[port_word(port, es.PKT_Q_OVERFLOW)] += 1
            release(engine, slot)
            return
        engine.pkt_q.slots[port, engine.pkt_q.tail[port] % capacity] = np.uint32(slot)
        engine.pkt_q.tail[port] += 1
        status[port_word(port, es.BUFFERED)] += 1
        if queued + 1 > status[port_word(port, es.PKT_Q_DEPTH_MAX)]:
            status[port_word(port, es.PKT_Q_DEPTH_MAX)] = queued + 1
        return
    if mode == es.MODE_ACTIVE:
        if status[port_word(port, es.DRAINED_NS)] != 0:
            status[port_word(port, es.AFTER_DRAIN)] += 1
        process(engine, announce, install, forward, slot, port, now_ns)
        return
    if length >= 14 and frame[12] == 8 and frame[13] == 0:
        status[port_word(port, es.NOT_READY if mode == es.MODE_STANDBY else es.STOPPED)] += 1
    release(engine, slot)
