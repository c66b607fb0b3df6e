"""The element's loop: receive, decide on each frame, hand on what has matured, sleep until the next does.

A frame is handed on at its moment or at most half a tick before it, as exactly as `harness.dataplane.tick` says.
"""

from __future__ import annotations

import numpy as np
from numba import typeof, types

from harness.dataplane.element import state as at
from harness.dataplane.element.fate import admit, direction_word, release
from harness.dataplane.element.queue import depth, next_mature_ns, pop
from harness.dataplane.element.state import ElementState, make_element_state
from harness.dataplane.fence import release_fence
from harness.dataplane.jit import Int, compiled, compiled_as, compiled_with_addresses
from harness.dataplane.libc import clock_ns, ppoll, read, sleep_until_ns
from harness.dataplane.port import METER, SENT, receive_burst, send_burst
from harness.dataplane.tick import ahead_ns, moved_lead_ns, present_tick_ns, sleep_towards_ns

IDLE_NS = 10_000_000
"""Longest sleep: bounds how late conditions take effect and how old the heartbeat is."""
BURSTS_PER_PASS = 8

ELEMENT = typeof(make_element_state(fds=[0, 0], wake_fd=0, seed=0, queue_packets=1))


@compiled
def _derive(element: ElementState) -> None:
    """What the loop may sleep through: no frame that has yet to arrive matures earlier than `floor` after arriving.

    It is eager where frames are to leave at once, or nearly: then arrivals have to wake it.
    """
    control, times = element.control, element.conditions.times
    floor_ns = np.int64(1) << 62
    eager = False
    for port in range(element.fds.shape[0]):
        latency_ns, least_ns = times[port, at.LATENCY_NS], times[port, at.LATENCY_NS]
        if times[port, at.IS_TABULATED] != 0:
            least_ns -= 4 * times[port, at.IPDV_NS]
        else:
            least_ns -= times[port, at.IPDV_NS]
        if element.conditions.odds[port, at.REORDERING] != 0:
            least_ns = np.int64(0)
        floor_ns = min(floor_ns, max(least_ns, np.int64(0)))
        eager = eager or latency_ns < control[at.TICK_NS_AT]
    control[at.FLOOR_NS_AT] = floor_ns
    control[at.EAGER_AT] = 1 if eager else 0


@compiled
def operate(element: ElementState) -> Int:
    """Take the waiting control operation; True when the loop is to end."""
    control = element.control
    if control[at.OPERATION_AT] == at.OPERATION_CONDITIONS:
        port = control[at.ARGUMENT_AT]
        now, then = element.conditions, element.pending
        for i in range(now.times.shape[1]):
            now.times[port, i] = then.times[port, i]
            now.odds[port, i] = then.odds[port, i]
        for i in range(at.TABLE_ENTRIES):
            now.tables[port, i] = then.tables[port, i]
        _derive(element)
    control[at.APPLIED_NS_AT] = clock_ns(1, element.timespec)
    release_fence()
    control[at.ACKNOWLEDGED_AT] = control[at.REQUEST_AT]
    return control[at.OPERATION_AT] == at.OPERATION_EXIT


@compiled
def _receive(element: ElementState, port: Int, now_ns: Int, real_minus_monotonic_ns: Int) -> Int:
    """Receive one burst and decide on each frame; whether there may be more."""
    limit = min(element.control[at.BURST_AT], element.receive.slots.shape[0])
    top = element.free_top[0]
    for i in range(limit):
        element.receive.slots[i] = element.free[top - 1 - i]
    n = receive_burst(element.fds[port], limit, element.frames, element.receive)
    element.free_top[0] = top - n
    for i in range(n):
        slot = np.int64(element.receive.slots[i])
        length = element.receive.lengths[i]
        if length == 0:  # larger than a slot: what is left of it is of no use to anybody
            element.status[direction_word(port, at.OVERSIZED)] += 1
            release(element, slot)
            continue
        element.lengths[slot] = np.int32(length)
        arrival_ns = element.receive.arrivals_ns[i] - real_minus_monotonic_ns
        # Without a kernel timestamp, or with a wall clock just set, the moment of reading stands in.
        if element.receive.arrivals_ns[i] == 0 or arrival_ns > now_ns or arrival_ns < now_ns - 1_000_000_000:
            arrival_ns = now_ns
        admit(element, port, slot, arrival_ns)
    return n == limit


@compiled
def _flush(element: ElementState, port: Int) -> None:
    """Transmit what came in at `port`, out of the other port of the link; what the meter refuses is dropped."""
    count = element.waiting[port]
    if count == 0:
        return
    status, send = element.status, element.send
    for i in range(count):
        slot = element.transmit[port, i]
        send.slots[i] = slot
        send.lengths[i] = element.lengths[slot]
    send_burst(element.fds[port ^ 1], count, element.frames, send)
    for i in range(count):
        slot = np.int64(element.transmit[port, i])
        word = at.FAILED
        if send.outcomes[i] == SENT:
            word = at.SENT
            status[direction_word(port, at.TX_BYTES)] += element.lengths[slot] - element.control[at.HEADER_BYTES_AT]
        elif send.outcomes[i] == METER:
            word = at.METER
        status[direction_word(port, word + np.int64(element.kinds[slot]))] += 1
        element.copies[slot] -= np.uint8(1)
        if element.copies[slot] == 0:
            release(element, slot)
    element.waiting[port] = 0


@compiled
def _tick_ns(element: ElementState) -> Int:
    """The present tick: what waits in all directions together decides it."""
    longest_ns = element.control[at.TICK_NS_AT]
    tick_ns = np.int64(0)
    for port in range(element.fds.shape[0]):
        waiting = depth(element.queue, port)
        if waiting > 0:
            tick_ns += present_tick_ns(waiting, element.conditions.times[port, at.LATENCY_NS], longest_ns)
    return min(tick_ns, longest_ns)


@compiled
def _hand_on(element: ElementState, now_ns: Int, tick_ns: Int) -> Int:
    """Transmit every frame that has matured, or will within half a tick; returns when the next one does (0: none
    waits)."""
    next_ns = np.int64(0)
    lead_ns = element.status[at.WAKE_LEAD_NS_AT]
    for port in range(element.fds.shape[0]):
        until_ns = now_ns + ahead_ns(tick_ns, lead_ns, element.conditions.times[port, at.LATENCY_NS])
        while depth(element.queue, port) > 0:
            mature_ns = next_mature_ns(element.queue, port)
            if mature_ns > until_ns:
                if next_ns == 0 or mature_ns < next_ns:
                    next_ns = mature_ns
                break
            if now_ns - mature_ns > element.status[direction_word(port, at.LATE_NS_MAX)]:
                element.status[direction_word(port, at.LATE_NS_MAX)] = now_ns - mature_ns
            element.transmit[port, element.waiting[port]] = np.uint32(pop(element.queue, port))
            element.waiting[port] += 1
            if element.waiting[port] == element.transmit.shape[1]:
                _flush(element, port)
        _flush(element, port)
    return next_ns


@compiled
def _publish(element: ElementState, now_ns: Int) -> None:
    status = element.status
    for port in range(element.fds.shape[0]):
        status[direction_word(port, at.DEPTH)] = depth(element.queue, port)
    status[at.FREE_SLOTS_AT] = element.free_top[0]
    status[at.LOOPS_AT] += 1
    status[at.HEARTBEAT_NS_AT] = now_ns


@compiled_with_addresses
def _poll(element: ElementState, pause_ns: Int) -> Int:
    """Sleep until a frame or a control operation comes, but not longer than `pause_ns`; whether one has come."""
    ports = element.fds.shape[0]
    element.timespec[0] = 0
    element.timespec[1] = max(pause_ns, 0)
    ready = ppoll(element.poll.ctypes.data, np.uint64(element.poll.shape[0]), element.timespec.ctypes.data, 0)
    if (element.poll[ports] >> 48) & 1:
        read(np.int32(element.poll[ports] & 0xFFFFFFFF), element.scratch.ctypes.data, np.uint64(8))
    return ready > 0


@compiled
def _poll_towards(element: ElementState, deadline_ns: Int) -> None:
    """As `sleep_towards_ns`, but what comes meanwhile ends it."""
    lead_ns = element.status[at.WAKE_LEAD_NS_AT]
    target_ns = deadline_ns - lead_ns
    pause_ns = target_ns - clock_ns(1, element.timespec)
    if pause_ns <= 0 or _poll(element, pause_ns):
        return
    late_ns = clock_ns(1, element.timespec) - target_ns
    element.status[at.WAKE_LEAD_NS_AT] = moved_lead_ns(lead_ns, late_ns, element.control[at.TICK_NS_AT])


@compiled
def _rest(element: ElementState, now_ns: Int, next_ns: Int, tick_ns: Int) -> None:
    """Sleep until the next frame matures or, with none waiting, until one comes. The kernel notes when frames arrive,
    so that those of a direction with latency can be left with it meanwhile."""
    control = element.control
    if next_ns == 0:
        _poll(element, IDLE_NS)
        return
    wake_ns = min(max(next_ns, now_ns + tick_ns), now_ns + IDLE_NS)
    if control[at.EAGER_AT] != 0:
        _poll_towards(element, wake_ns)
        return
    longest_ns = control[at.TICK_NS_AT]
    if control[at.FLOOR_NS_AT] >= longest_ns:
        wake_ns = min(wake_ns, now_ns + control[at.FLOOR_NS_AT])
        sleep_towards_ns(wake_ns, element.status, at.WAKE_LEAD_NS_AT, longest_ns, element.timespec)
        return
    # Frames that come may have to leave before those that wait: together within a tick where they are dense.
    sleep_until_ns(now_ns + tick_ns, element.timespec)
    _poll_towards(element, wake_ns)


@compiled_as(types.int64(ELEMENT))
def run_element(element: ElementState) -> Int:
    """Serve until OPERATION_EXIT; returns the number of passes."""
    control = element.control
    _derive(element)
    while True:
        if control[at.REQUEST_AT] != control[at.ACKNOWLEDGED_AT] and operate(element):
            break
        now_ns = clock_ns(1, element.timespec)
        real_minus_monotonic_ns = clock_ns(0, element.timespec) - now_ns
        for port in range(element.fds.shape[0]):
            for _ in range(BURSTS_PER_PASS):
                if not _receive(element, port, now_ns, real_minus_monotonic_ns):
                    break
        tick_ns = _tick_ns(element)
        next_ns = _hand_on(element, now_ns, tick_ns)
        _publish(element, now_ns)
        _rest(element, now_ns, next_ns, tick_ns)
    return element.status[at.LOOPS_AT]
