"""One source of random numbers for each thing that is drawn, so that a change of one leaves the others as they were."""

from __future__ import annotations

import numpy as np

ARRIVALS, FRAME_SIZES, SERVER_FRAME_SIZES, HANDOVERS = range(1, 5)


def draws(seed: int, purpose: int) -> np.random.Generator:
    """The generator of `purpose`, one of the constants above."""
    return np.random.default_rng((seed, purpose))
