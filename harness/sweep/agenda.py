"""What of a sweep is left, and which run comes next. Pure: a resumed sweep goes on as an uninterrupted one would have.

It is kept up to date entry by entry: to derive it from all entries after each of 100,000 runs is too much.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from harness.record.sweep import SweepEntry
from harness.sweep.order import Due, SweepRun, settled

Attempts = Mapping[str, Sequence[SweepEntry]]
"""Of the runs of one cell in one mode, by key."""
Enough = Callable[[SweepRun, Attempts], bool]
"""Whether a run is left out because what its cell came to in its mode in the repetitions before says enough."""


class Agenda:
    """Runs in their order; what is handed out by `take` is under way until an entry of it is made.

    With a rule (`enough`) the repetitions of a cell in a mode before a run have to be known before it is handed out.
    """

    def __init__(
        self, runs: Sequence[SweepRun], entries: Sequence[SweepEntry], retries: int, enough: Enough | None = None
    ) -> None:
        self._runs, self._retries, self._enough = runs, retries, enough
        self._position = {run.key: number for number, run in enumerate(runs)}
        self._attempts: dict[tuple[str, str], dict[str, list[SweepEntry]]] = {}
        self._under_way: dict[str, SweepRun] = {}
        self._busy: Counter[tuple[str, str]] = Counter()
        self._unsettled = {run.key for run in runs}
        self._by_cell = Counter(run.cell for run in runs)
        self._overhead_s, self._measured = 0.0, 0
        for entry in entries:
            self.enter(entry)
        self._waiting = [number for number, run in enumerate(runs) if run.key in self._unsettled]

    def enter(self, entry: SweepEntry) -> None:
        """Take note of an attempt that has been made; of no run of this sweep: it is nobody's."""
        place = (entry.cell, entry.mode)
        made = self._attempts.setdefault(place, {}).setdefault(entry.key, [])
        made.append(entry)
        if not entry.interrupted:
            self._overhead_s += entry.wall_s - entry.window_s
            self._measured += 1
        if settled(made, self._retries) and entry.key in self._unsettled:
            self._unsettled.discard(entry.key)
            self._by_cell[entry.cell] -= 1
        if self._under_way.pop(entry.key, None) is not None:
            self._busy[place] -= 1
            if entry.key in self._unsettled:
                heapq.heappush(self._waiting, self._position[entry.key])

    def take(self) -> Due | None:
        """Hand out the first that may be made now; None where there is none."""
        aside = []
        try:
            while self._waiting:
                number = heapq.heappop(self._waiting)
                run = self._runs[number]
                if self._enough is not None and self._busy[run.cell, run.mode]:
                    aside.append(number)
                    continue
                if self._stopped(run):
                    aside.append(number)  # a later attempt at an earlier repetition may change that
                    continue
                self._under_way[run.key] = run
                self._busy[run.cell, run.mode] += 1
                return Due(run, self._next_attempt(run))
            return None
        finally:
            for number in aside:
                heapq.heappush(self._waiting, number)

    def left(self) -> int:
        """How many runs have no result that counts, those under way among them."""
        return sum(self.left_by_cell().values())

    def left_by_cell(self) -> Mapping[str, int]:
        """How many runs of each cell have no result that counts."""
        if self._enough is None:
            return self._by_cell
        return Counter(run.cell for run in self._runs if run.key in self._unsettled and not self._stopped(run))

    @property
    def overhead_s(self) -> float | None:
        """Mean wall time of a run beyond its window; None before the first."""
        return self._overhead_s / self._measured if self._measured else None

    def _stopped(self, run: SweepRun) -> bool:
        attempts = self._attempts.get((run.cell, run.mode), {})
        return self._enough is not None and run.key not in attempts and self._enough(run, attempts)

    def _next_attempt(self, run: SweepRun) -> int:
        made = self._attempts.get((run.cell, run.mode), {}).get(run.key, ())
        return 1 + max((entry.attempt for entry in made), default=0)
