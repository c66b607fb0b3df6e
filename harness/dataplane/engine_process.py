"""One packet, or one timer tick, through an image: g, then h, then the rewriting.

While a migration announces, the statelet (or the whole frame, in duplication mode) is put on st_q_out before the packet
leaves; there is no way to change the tables here but through `install`."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.dataplane import engine_state as es
from harness.dataplane.abi import FLAG_REPLACED, REPLACED_REASON_SHIFT, STATELET_MAX_BYTES, TIMER_PORT
from harness.dataplane.byte_ring import commit, has_room, put, reserve
from harness.dataplane.engine_ports import flush, port_word, release
from harness.dataplane.engine_state import UPDATES_DUPLICATION, UPDATES_OFF, UPDATES_STATELET, EngineState
from harness.dataplane.jit import Int, compiled
from harness.dataplane.trace import ENABLED, trace, trace_tick

EXPIRIES_PER_TICK = 64
INSTALL_ERROR_REASON = 63
"""Drop reason of a packet whose own statelet `install` refused: an image's error, counted apart."""
DUPLICATE_TYPE = 0xFFFE
DUPLICATE_HEADER_BYTES = 4 + 1 + 8


@compiled
def _put_duplicate(engine: EngineState, frame: Any, length: Int, port: Int, now_ns: Int) -> None:
    """Put the frame as it arrived on st_q_out: port u8, now_ns u64, frame (duplication mode)."""
    ring = engine.statelet_ring
    size = DUPLICATE_HEADER_BYTES + length
    payload = size - 4
    offset = reserve(ring, size)
    data = ring.data
    data[offset] = np.uint8(DUPLICATE_TYPE >> 8)
    data[offset + 1] = np.uint8(DUPLICATE_TYPE & 0xFF)
    data[offset + 2] = np.uint8(payload >> 8)
    data[offset + 3] = np.uint8(payload & 0xFF)
    data[offset + 4] = np.uint8(port)
    for i in range(8):
        data[offset + 5 + i] = np.uint8((now_ns >> (56 - 8 * i)) & 0xFF)
    for i in range(length):
        data[offset + DUPLICATE_HEADER_BYTES + i] = frame[i]
    commit(ring, size)


@compiled
def _may_announce(engine: EngineState, record_bytes: Int) -> Int:
    """Room on st_q_out for a record. Without it, before the commit, announcing ends: the migration must abort and the
    source serves on without loss. After the commit the caller drops the packet, unprocessed: state stays right."""
    if has_room(engine.statelet_ring, record_bytes):
        return True
    if engine.status[es.COMMITTED_AT] == 0:
        engine.status[es.UPDATES_AT] = UPDATES_OFF
        engine.status[es.OVERFLOWED_AT] = 1
        return True
    return False


@compiled
def _refuse(engine: EngineState, port: Int, reason: Int) -> None:
    engine.status[port_word(port, es.REFUSED)] += 1
    engine.status[es.REASONS_AT + (reason & 63)] += 1


@compiled
def process(engine: EngineState, announce: Any, install: Any, forward: Any, slot: Int, port: Int, now_ns: Int) -> None:
    """Run one frame through the image: g, then h, then the rewriting; every way out is counted."""
    status = engine.status
    frame = engine.frames[slot]
    length = np.int64(engine.lengths[slot])
    updates = status[es.UPDATES_AT]
    if updates != UPDATES_OFF:
        if not _may_announce(engine, STATELET_MAX_BYTES):
            status[port_word(port, es.ST_Q_OVERFLOW)] += 1
            release(engine, slot)
            return
        updates = status[es.UPDATES_AT]
    status[port_word(port, es.PROCESSED)] += 1
    if engine.trace_ring.state[ENABLED] != 0:
        trace(engine.trace_ring, now_ns, port, length, frame, length)
        if length >= 15 and frame[12] == 8 and frame[13] == 0 and frame[14] != 0x45:
            status[es.ODD_HEADERS_AT] += 1
    if updates == UPDATES_DUPLICATION:
        _put_duplicate(engine, frame, length, port, now_ns)
        status[es.STATELETS_AT] += 1
        status[es.STATELET_BYTES_AT] += DUPLICATE_HEADER_BYTES + length
    n = announce(frame, length, port, now_ns, engine.tables, engine.statelet)
    if n < 0:
        _refuse(engine, port, -n)
        release(engine, slot)
        return
    if n > 0:
        if install(engine.statelet, n, engine.tables) != 0:
            _refuse(engine, port, INSTALL_ERROR_REASON)
            release(engine, slot)
            return
        if updates == UPDATES_STATELET:
            put(engine.statelet_ring, engine.statelet, n)
            status[es.STATELETS_AT] += 1
            status[es.STATELET_BYTES_AT] += n
    verdict = forward(frame, length, port, now_ns, engine.tables, engine.statelet)
    if verdict < 0:
        _refuse(engine, port, -verdict)
        release(engine, slot)
        return
    if verdict & FLAG_REPLACED:
        _refuse(engine, port, (verdict >> REPLACED_REASON_SHIFT) & 63)
        status[port_word(port, es.REPLACED)] += 1
        verdict &= FLAG_REPLACED - 1
    out_port = verdict & 0xFF
    out_length = verdict >> 8
    if out_port >= engine.fds.shape[0] or out_length > frame.shape[0]:
        _refuse(engine, port, INSTALL_ERROR_REASON)
        release(engine, slot)
        return
    if frame[12] != 8 or frame[13] != 0:
        status[port_word(out_port, es.TX_OTHER)] += 1  # an answer to ARP, say: not a packet handed on
    engine.lengths[slot] = np.int32(out_length)
    engine.transmit.slots[out_port, engine.transmit.tail[out_port]] = np.uint32(slot)
    engine.transmit.tail[out_port] += 1
    if engine.transmit.tail[out_port] >= engine.transmit.slots.shape[1]:
        flush(engine, out_port)
    if status[es.FIRST_FORWARDED_NS_AT] == 0:
        status[es.FIRST_FORWARDED_NS_AT] = now_ns


@compiled
def expire(engine: EngineState, announce: Any, install: Any, now_ns: Int) -> None:
    """One timer tick: let entries of the window of this tick expire, each by a statelet of its own."""
    status = engine.status
    tick = status[es.TICKS_AT]
    status[es.TICKS_AT] += 1
    for _ in range(EXPIRIES_PER_TICK):
        updates = status[es.UPDATES_AT]
        if updates != UPDATES_OFF and not has_room(engine.statelet_ring, STATELET_MAX_BYTES):
            return  # expiry can wait for the next round
        n = announce(engine.scratch, tick, TIMER_PORT, now_ns, engine.tables, engine.statelet)
        if n <= 0:
            return
        if install(engine.statelet, n, engine.tables) != 0:
            return
        status[es.EXPIRED_AT] += 1
        if engine.trace_ring.state[ENABLED] != 0:
            trace_tick(engine.trace_ring, now_ns, tick, engine.scratch)
        if updates == UPDATES_STATELET:
            put(engine.statelet_ring, engine.statelet, n)
            status[es.STATELETS_AT] += 1
            status[es.STATELET_BYTES_AT] += n
        elif updates == UPDATES_DUPLICATION:
            for i in range(8):
                engine.scratch[i] = np.uint8((tick >> (8 * i)) & 0xFF)
            _put_duplicate(engine, engine.scratch, 8, TIMER_PORT, now_ns)
            status[es.STATELETS_AT] += 1
            status[es.STATELET_BYTES_AT] += DUPLICATE_HEADER_BYTES + 8
