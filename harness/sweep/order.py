"""Which runs a sweep consists of, in which order, and which need no further attempt. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from harness.profile.model import CONTROL
from harness.record.sweep import SweepEntry, run_key


@dataclass(frozen=True)
class SweepRun:
    """One run; repetition counts from 1."""

    cell: str
    """Digest of the cell."""
    mode: str
    repetition: int

    @property
    def key(self) -> str:
        """The run whatever the attempt."""
        return run_key(self.cell, self.mode, self.repetition)


@dataclass(frozen=True)
class Due:
    """The next attempt to be made."""

    run: SweepRun
    attempt: int


def order_of_runs(
    digests: Sequence[str], modes: Sequence[str], repetitions: int, control_repetitions: int, seed: int
) -> tuple[SweepRun, ...]:
    """All runs of repetition 1 of all cells and modes shuffled, then repetition 2, and so on.

    Drift of the machine hits all cells and modes alike, and an interruption leaves balanced data. The control is run
    `control_repetitions` times, in the first repetitions.
    """
    order = random.Random(seed)
    runs: list[SweepRun] = []
    for repetition in range(1, max(repetitions, control_repetitions) + 1):
        due = [*modes] if repetition <= repetitions else []
        if repetition <= control_repetitions:
            due.append(CONTROL)
        block = [SweepRun(digest, mode, repetition) for digest in digests for mode in due]
        order.shuffle(block)
        runs += block
    return tuple(runs)


def settled(attempts: Sequence[SweepEntry], retries: int) -> bool:
    """Whether a run needs no further attempt: it has a result, or was INVALID as often as it may be."""
    finished = [entry for entry in attempts if not entry.interrupted]
    if not finished:
        return False
    return finished[-1].verdict != "INVALID" or len(finished) > retries
