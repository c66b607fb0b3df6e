"""Which size each frame has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from loadgen import randomness
from loadgen.workload import Workload


def frame_sizes(workload: Workload, count: int, purpose: int) -> npt.NDArray[np.uint16]:
    """uint16[count] in bytes. A mix has each size in its share of `count`, to the packet, in random order.

    purpose: randomness.FRAME_SIZES or SERVER_FRAME_SIZES.
    """
    if not workload.frame_mix:
        return np.full(count, workload.frame_bytes, np.uint16)
    sizes, shares = (np.array(column, np.int64) for column in zip(*workload.frame_mix, strict=True))
    # Ends of each size's block among `count` packets; what does not divide goes to the size it falls in.
    ends = np.cumsum(shares) * count // shares.sum()
    blocks = np.repeat(sizes, np.diff(ends, prepend=0)).astype(np.uint16)
    return randomness.draws(workload.seed, purpose).permutation(blocks)
