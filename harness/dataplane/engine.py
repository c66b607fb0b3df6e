"""The engine: one compiled loop per instance that serves its ports, delay lines, pkt_q and control words.

A pass of the loop takes a waiting control operation, receives a burst from every port, hands on the frames whose
latency has passed, drains pkt_q, transmits, lets entries expire, and sleeps until there is something to do. Control
operations are taken between passes only: freezing the tables and raising upd_enable is atomic with respect to packets,
so the statelet stream starts exactly where the snapshot ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import typeof, types

from harness.dataplane import engine_state as es
from harness.dataplane.abi import ANNOUNCE, FORWARD, INSTALL
from harness.dataplane.byte_ring import DEPTH_MAX, reset_ring
from harness.dataplane.engine_modes import set_mode, take_matured
from harness.dataplane.engine_ports import flush_all, port_word, publish, receive
from harness.dataplane.engine_process import expire, process
from harness.dataplane.engine_state import UPDATES_OFF, EngineState, make_engine_state
from harness.dataplane.fence import release_fence
from harness.dataplane.jit import Int, compiled, compiled_as, compiled_with_addresses
from harness.dataplane.libc import clock_ns, ppoll, read
from harness.dataplane.table import freeze_all, reap, unfreeze_all
from harness.dataplane.tick import ahead_ns, present_tick_ns, sleep_towards_ns
from harness.dataplane.trace import TAIL

IDLE_NS = 10_000_000
"""Longest sleep without a frame: bounds how late a control operation without a wake-up is taken."""
REAP_SLOTS_PER_PASS = 256

_TEMPLATE = make_engine_state(
    tables=np.zeros(64, np.uint64),
    fds=[0],
    wake_fd=0,
    pkt_q_packets=2,
    delay_packets=2,
    st_q_out_bytes=8192,
)
ENGINE = typeof(_TEMPLATE)


@compiled
def _operate(engine: EngineState) -> Int:
    """Take the waiting control operation; True when the loop is to end."""
    control, status = engine.control, engine.status
    operation, argument = control[es.OPERATION_AT], control[es.ARGUMENT_AT]
    now_ns = clock_ns(1, engine.timespec)
    result = np.int64(0)
    leave = False
    if operation == es.OPERATION_MODE:
        set_mode(engine, argument, now_ns)
    elif operation == es.OPERATION_ANNOUNCE:
        reset_ring(engine.statelet_ring)
        engine.statelet_ring.state[DEPTH_MAX] = 0
        status[es.STATELETS_AT] = 0
        status[es.STATELET_BYTES_AT] = 0
        status[es.OVERFLOWED_AT] = 0
        freeze_all(engine.tables)
        status[es.UPDATES_AT] = argument
        status[es.FROZEN_RECORDS_AT] = engine.trace_ring.state[TAIL]
        result = clock_ns(1, engine.timespec) - now_ns
        status[es.FREEZE_PAUSE_NS_AT] = result
    elif operation == es.OPERATION_UNFREEZE:
        unfreeze_all(engine.tables)
    elif operation == es.OPERATION_STOP_ANNOUNCING:
        status[es.UPDATES_AT] = UPDATES_OFF
        status[es.COMMITTED_AT] = 0
        reset_ring(engine.statelet_ring)
    elif operation == es.OPERATION_COMMIT:
        if status[es.OVERFLOWED_AT] != 0 or status[es.UPDATES_AT] == UPDATES_OFF:
            result = np.int64(-1)
        else:
            for port in range(engine.fds.shape[0]):
                status[port_word(port, es.DRAINED_NS)] = 0
            status[es.COMMITTED_AT] = 1
    elif operation == es.OPERATION_EXIT:
        leave = True
    control[es.RESULT_AT] = result
    release_fence()
    control[es.ACKNOWLEDGED_AT] = control[es.REQUEST_AT]
    return leave


@compiled
def _drain_pkt_q(engine: EngineState, announce: Any, install: Any, forward: Any, now_ns: Int) -> Int:
    """Process up to a burst of every port's pkt_q, in order; True while something is left."""
    left = False
    for port in range(engine.fds.shape[0]):
        capacity = engine.pkt_q.slots.shape[1]
        for _ in range(engine.control[es.BURST_AT]):
            if engine.pkt_q.head[port] == engine.pkt_q.tail[port]:
                break
            slot = engine.pkt_q.slots[port, engine.pkt_q.head[port] % capacity]
            engine.pkt_q.head[port] += 1
            process(engine, announce, install, forward, slot, port, now_ns)
        left = left or engine.pkt_q.head[port] != engine.pkt_q.tail[port]
    if not left and engine.status[es.PKT_Q_DRAINED_NS_AT] == 0:
        engine.status[es.PKT_Q_DRAINED_NS_AT] = now_ns
    return left


@compiled
def _tick_ns(engine: EngineState) -> Int:
    """The present tick: what waits in all delay lines together decides it."""
    waiting = np.int64(0)
    for port in range(engine.fds.shape[0]):
        waiting += engine.delay.tail[port] - engine.delay.head[port]
    return present_tick_ns(waiting, engine.control[es.LATENCY_NS_AT], engine.control[es.TICK_NS_AT])


@compiled
def _hand_on(engine: EngineState, announce: Any, install: Any, forward: Any, now_ns: Int, tick_ns: Int) -> Int:
    """Take every frame of every port that has matured, or will within half a tick; returns when the next one matures
    (0: none waits)."""
    next_ns = np.int64(0)
    until_ns = now_ns + ahead_ns(tick_ns, engine.status[es.WAKE_LEAD_NS_AT], engine.control[es.LATENCY_NS_AT])
    for port in range(engine.fds.shape[0]):
        capacity = engine.delay.slots.shape[1]
        while engine.delay.head[port] != engine.delay.tail[port]:
            slot = engine.delay.slots[port, engine.delay.head[port] % capacity]
            mature_ns = engine.mature_ns[slot]
            if mature_ns > until_ns:
                if next_ns == 0 or mature_ns < next_ns:
                    next_ns = mature_ns
                break
            late_ns = now_ns - mature_ns
            if late_ns > engine.status[es.LATE_HANDOFF_NS_MAX_AT]:
                engine.status[es.LATE_HANDOFF_NS_MAX_AT] = late_ns
            engine.delay.head[port] += 1
            take_matured(engine, announce, install, forward, slot, port, now_ns)
    return next_ns


@compiled_with_addresses
def _wait(engine: EngineState, now_ns: Int, next_ns: Int, tick_ns: Int, timer_ns: Int) -> None:
    """Sleep until the next frame matures (arrivals meanwhile keep their kernel timestamps) or, with none waiting, until
    a frame, a control operation or the timer."""
    if next_ns != 0:
        longest_ns = engine.control[es.TICK_NS_AT]
        sleep_towards_ns(max(next_ns, now_ns + tick_ns), engine.status, es.WAKE_LEAD_NS_AT, longest_ns, engine.timespec)
        return
    pause_ns = min(max(timer_ns - now_ns, 0), IDLE_NS)
    engine.timespec[0] = 0
    engine.timespec[1] = pause_ns
    ppoll(engine.poll.ctypes.data, np.uint64(engine.poll.shape[0]), engine.timespec.ctypes.data, 0)
    if (engine.poll[engine.fds.shape[0]] >> 48) & 1:
        read(np.int32(engine.poll[engine.fds.shape[0]] & 0xFFFFFFFF), engine.scratch.ctypes.data, np.uint64(8))


@compiled_as(types.int64(ANNOUNCE, INSTALL, FORWARD, ENGINE))
def run_engine(announce: Any, install: Any, forward: Any, engine: EngineState) -> Int:
    """Serve until OPERATION_EXIT; returns the number of passes. The caller fills the control words first."""
    control, status = engine.control, engine.status
    timer_ns = clock_ns(1, engine.timespec) + control[es.TIMER_NS_AT]
    while True:
        if control[es.REQUEST_AT] != control[es.ACKNOWLEDGED_AT] and _operate(engine):
            break
        now_ns = clock_ns(1, engine.timespec)
        real_minus_monotonic_ns = clock_ns(0, engine.timespec) - now_ns
        received = np.int64(0)
        for port in range(engine.fds.shape[0]):
            received += receive(engine, port, now_ns, real_minus_monotonic_ns)
        left = False
        if status[es.MODE_AT] == es.MODE_ACTIVE:
            left = _drain_pkt_q(engine, announce, install, forward, now_ns)
        tick_ns = _tick_ns(engine)
        next_ns = _hand_on(engine, announce, install, forward, now_ns, tick_ns)
        flush_all(engine)
        if now_ns >= timer_ns:
            timer_ns = now_ns + control[es.TIMER_NS_AT]
            if status[es.MODE_AT] == es.MODE_ACTIVE:
                expire(engine, announce, install, now_ns)
                reap(engine.tables, REAP_SLOTS_PER_PASS)
        publish(engine, now_ns)
        # A full burst may have left frames in the socket; with latency they can wait, their timestamps do not change.
        if left or (received > 0 and control[es.LATENCY_NS_AT] == 0):
            continue
        _wait(engine, now_ns, next_ns, tick_ns, timer_ns)
    return status[es.LOOPS_AT]
