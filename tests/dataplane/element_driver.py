"""Many frames through the element's decisions in one call: entering compiled code with all its memory costs a while."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from harness.dataplane.element.fate import admit
from harness.dataplane.element.queue import depth, next_mature_ns, pop


# Not kept on disk, where changes of what it calls would go unnoticed.
@njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def admit_frames(element: Any, port: int, names: Any, arrivals_ns: Any, frame: Any, slot_names: Any) -> None:
    """As the loop does with what it has received: frame i of `names` at `arrivals_ns[i]`, all alike."""
    for i in range(names.size):
        element.free_top[0] -= 1
        slot = np.int64(element.free[element.free_top[0]])
        for at in range(frame.size):
            element.frames[slot, at] = frame[at]
        element.lengths[slot] = frame.size
        element.copies[slot] = 0
        slot_names[slot] = names[i]
        admit(element, port, slot, arrivals_ns[i])


@njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def take_frames(element: Any, port: int, slot_names: Any, taken: Any) -> int:
    """Take all that waits into `taken`: int64[n, 2] of name and when it matures; returns how many."""
    count = 0
    while depth(element.queue, port) > 0:
        mature_ns = next_mature_ns(element.queue, port)
        slot = pop(element.queue, port)
        taken[count, 0] = slot_names[slot]
        taken[count, 1] = mature_ns
        count += 1
        element.copies[slot] -= np.uint8(1)
        if element.copies[slot] == 0:
            element.free[element.free_top[0]] = slot
            element.free_top[0] += 1
    return count
