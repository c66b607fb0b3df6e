"""Frames that wait for their moment, in order of maturity; each operation costs at most the height of a heap."""

from __future__ import annotations

import numpy as np

from harness.dataplane.element.state import Entries, Queue
from harness.dataplane.jit import Int, compiled


@compiled
def depth(queue: Queue, port: Int) -> Int:
    """Entries that wait in a direction."""
    return queue.tail[port] - queue.head[port] + queue.heaped[port]


@compiled
def _before(entries: Entries, port: Int, first: Int, second: Int) -> Int:
    first_ns, second_ns = entries.mature_ns[port, first], entries.mature_ns[port, second]
    if first_ns != second_ns:
        return first_ns < second_ns
    return entries.order[port, first] < entries.order[port, second]


@compiled
def _swap(entries: Entries, port: Int, first: Int, second: Int) -> None:
    mature_ns, order, slot = entries.mature_ns[port, first], entries.order[port, first], entries.slots[port, first]
    entries.mature_ns[port, first] = entries.mature_ns[port, second]
    entries.order[port, first] = entries.order[port, second]
    entries.slots[port, first] = entries.slots[port, second]
    entries.mature_ns[port, second] = mature_ns
    entries.order[port, second] = order
    entries.slots[port, second] = slot


@compiled
def _put(entries: Entries, port: Int, at: Int, mature_ns: Int, order: Int, slot: Int) -> None:
    entries.mature_ns[port, at] = mature_ns
    entries.order[port, at] = order
    entries.slots[port, at] = np.uint32(slot)


@compiled
def push(queue: Queue, port: Int, slot: Int, mature_ns: Int) -> None:
    """Let a slot wait until `mature_ns`. The caller has seen to it that there is room."""
    capacity = queue.ring.slots.shape[1]
    order = queue.orders[port]
    queue.orders[port] = order + 1
    if depth(queue, port) == 0 or mature_ns > queue.latest_ns[port]:
        queue.latest_ns[port] = mature_ns
    tail = queue.tail[port]
    if tail == queue.head[port] or mature_ns >= queue.ring.mature_ns[port, (tail - 1) % capacity]:
        _put(queue.ring, port, tail % capacity, mature_ns, order, slot)
        queue.tail[port] = tail + 1
        return
    at = queue.heaped[port]
    queue.heaped[port] = at + 1
    _put(queue.heap, port, at, mature_ns, order, slot)
    while at > 0:
        parent = (at - 1) >> 1
        if not _before(queue.heap, port, at, parent):
            break
        _swap(queue.heap, port, at, parent)
        at = parent


@compiled
def _ring_is_next(queue: Queue, port: Int) -> Int:
    if queue.heaped[port] == 0:
        return True
    if queue.head[port] == queue.tail[port]:
        return False
    at = queue.head[port] % queue.ring.slots.shape[1]
    ring_ns, heap_ns = queue.ring.mature_ns[port, at], queue.heap.mature_ns[port, 0]
    if ring_ns != heap_ns:
        return ring_ns < heap_ns
    return queue.ring.order[port, at] < queue.heap.order[port, 0]


@compiled
def next_mature_ns(queue: Queue, port: Int) -> Int:
    """When the next frame matures; there must be one."""
    if _ring_is_next(queue, port):
        return queue.ring.mature_ns[port, queue.head[port] % queue.ring.slots.shape[1]]
    return queue.heap.mature_ns[port, 0]


@compiled
def pop(queue: Queue, port: Int) -> Int:
    """Take the slot that matures next; there must be one."""
    if _ring_is_next(queue, port):
        slot = np.int64(queue.ring.slots[port, queue.head[port] % queue.ring.slots.shape[1]])
        queue.head[port] += 1
        return slot
    slot = np.int64(queue.heap.slots[port, 0])
    last = queue.heaped[port] - 1
    queue.heaped[port] = last
    _swap(queue.heap, port, 0, last)
    at = np.int64(0)
    while True:
        child = 2 * at + 1
        if child >= last:
            break
        if child + 1 < last and _before(queue.heap, port, child + 1, child):
            child += 1
        if not _before(queue.heap, port, child, at):
            break
        _swap(queue.heap, port, child, at)
        at = child
    return slot
