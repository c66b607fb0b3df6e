"""What becomes of a frame that has arrived: how many copies of it wait, and until when each does.

Every draw is a function of seed, direction, class of frame, number of the frame within those, and purpose: the same
frames in the same order meet the same fate whatever else is on the link and whenever conditions change.
"""

from __future__ import annotations

import numpy as np

from harness.dataplane.element import state as at
from harness.dataplane.element.queue import depth, push
from harness.dataplane.element.state import ElementState
from harness.dataplane.jit import Int, compiled

DRAIN_ETHERTYPE_HIGH, DRAIN_ETHERTYPE_LOW = 0x88, 0xB5
DRAWS_PER_FRAME = 8
DRAW_BITS = 53
_GAMMA, _MIX_1, _MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31, _SHIFT_11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_PER_UNIT = 2.0**-DRAW_BITS


@compiled
def draw(seed: Int, number: Int) -> Int:
    """The number-th value of the SplitMix64 sequence of `seed` (Steele, Lea, Flood 2014), its upper 53 bits."""
    z = seed + np.uint64(number) * _GAMMA
    z = (z ^ (z >> _SHIFT_30)) * _MIX_1
    z = (z ^ (z >> _SHIFT_27)) * _MIX_2
    return (z ^ (z >> _SHIFT_31)) >> _SHIFT_11


@compiled
def direction_word(port: Int, word: Int) -> Int:
    return at.DIRECTIONS_AT + port * at.DIRECTION_WORDS + word


@compiled
def release(element: ElementState, slot: Int) -> None:
    element.free[element.free_top[0]] = np.uint32(slot)
    element.free_top[0] += 1


@compiled
def classify(element: ElementState, port: Int, slot: Int) -> Int:
    """The class a frame is counted in: by its destination address where it goes to the node, else by its source."""
    header = element.control[at.HEADER_BYTES_AT]
    frame = element.frames[slot]
    if element.lengths[slot] < header + 14 or frame[header + 12] != 8 or frame[header + 13] != 0:
        return at.OTHER
    begin = header if port & 1 == 0 else header + 6
    address = np.int64(0)
    for i in range(6):
        address = (address << 8) | np.int64(frame[begin + i])
    for kind in range(at.OTHER):
        if element.addresses[port, kind] == address:
            return kind
    return at.OTHER


@compiled
def is_drain(element: ElementState, slot: Int) -> Int:
    """Whether a frame has the drain frames' ethertype."""
    header = element.control[at.HEADER_BYTES_AT]
    frame = element.frames[slot]
    if element.lengths[slot] < header + 14:
        return False
    return frame[header + 12] == DRAIN_ETHERTYPE_HIGH and frame[header + 13] == DRAIN_ETHERTYPE_LOW


@compiled
def delay_ns(element: ElementState, port: Int, value: Int) -> Int:
    """Latency and variation of one copy, by a value of 53 bits; never negative."""
    times = element.conditions.times
    latency_ns, ipdv_ns = times[port, at.LATENCY_NS], times[port, at.IPDV_NS]
    if ipdv_ns == 0:
        return latency_ns
    if times[port, at.IS_TABULATED] == 0:
        variation_ns = np.int64((np.float64(value) * _PER_UNIT * 2.0 - 1.0) * np.float64(ipdv_ns))
    else:
        entry = np.int64(value) & (at.TABLE_ENTRIES - 1)
        variation_ns = element.conditions.tables[port, entry] * ipdv_ns // at.TABLE_SCALE
    return max(latency_ns + variation_ns, np.int64(0))


@compiled
def _wait(element: ElementState, port: Int, slot: Int, mature_ns: Int) -> None:
    push(element.queue, port, slot, mature_ns)
    deep = depth(element.queue, port)
    if deep > element.status[direction_word(port, at.DEPTH_MAX)]:
        element.status[direction_word(port, at.DEPTH_MAX)] = deep


@compiled
def _admit_drain(element: ElementState, port: Int, slot: Int, arrival_ns: Int) -> None:
    """A drain frame is never lost, duplicated or reordered, and matures behind everything that waits."""
    queue = element.queue
    waiting = depth(queue, port)
    if waiting >= queue.ring.slots.shape[1]:
        element.status[direction_word(port, at.REFUSED + at.OTHER)] += 1
        release(element, slot)
        return
    mature_ns = arrival_ns + element.conditions.times[port, at.LATENCY_NS]
    if waiting > 0:
        mature_ns = max(mature_ns, queue.latest_ns[port])
    element.status[direction_word(port, at.DRAIN)] += 1
    element.copies[slot] = 1
    _wait(element, port, slot, mature_ns)


@compiled
def admit(element: ElementState, port: Int, slot: Int, arrival_ns: Int) -> None:
    """Decide on a frame that arrived at `arrival_ns` in a slot of its own; every copy waits or is counted.

    As in netem, but that each copy of a duplicated frame may be lost, delayed or reordered by itself: received +
    duplicated = impaired + refused + those that wait. A superframe is one frame.
    """
    status, odds = element.status, element.conditions.odds
    kind = classify(element, port, slot)
    element.kinds[slot] = np.uint8(kind)
    status[direction_word(port, at.RECEIVED + kind)] += 1
    status[direction_word(port, at.RX_BYTES)] += element.lengths[slot] - element.control[at.HEADER_BYTES_AT]
    if is_drain(element, slot):
        _admit_drain(element, port, slot, arrival_ns)
        return
    seed = element.seeds[port, kind]
    number = element.drawn[port, kind] * DRAWS_PER_FRAME
    element.drawn[port, kind] += 1
    made = np.int64(1)
    if odds[port, at.DUPLICATION] != 0 and draw(seed, number) < odds[port, at.DUPLICATION]:
        made = np.int64(2)
        status[direction_word(port, at.DUPLICATED + kind)] += 1
    kept = np.int64(0)
    for copy in range(made):
        first = number + 1 + 3 * copy
        if odds[port, at.LOSS] != 0 and draw(seed, first) < odds[port, at.LOSS]:
            status[direction_word(port, at.IMPAIRED + kind)] += 1
        elif depth(element.queue, port) >= element.control[at.LIMIT_AT]:
            status[direction_word(port, at.REFUSED + kind)] += 1
        else:
            kept += 1
            element.copies[slot] = np.uint8(kept)
            if odds[port, at.REORDERING] != 0 and draw(seed, first + 1) < odds[port, at.REORDERING]:
                status[direction_word(port, at.REORDERED + kind)] += 1
                _wait(element, port, slot, arrival_ns)
            else:
                _wait(element, port, slot, arrival_ns + delay_ns(element, port, draw(seed, first + 2)))
    if kept == 0:
        release(element, slot)
