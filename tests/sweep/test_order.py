from __future__ import annotations

from collections import Counter

import pytest

from harness.record.sweep import SweepEntry
from harness.sweep.order import SweepRun, order_of_runs, settled

CELLS = [f"{n:016x}" for n in range(4)]
RUN = SweepRun(CELLS[0], "statelet", 1)


def attempt(number, verdict="VALID", interrupted=False):
    return SweepEntry(
        key=RUN.key,
        cell=RUN.cell,
        mode=RUN.mode,
        repetition=RUN.repetition,
        attempt=number,
        folder=f"runs/{number}",
        verdict=verdict,
        started_utc="2026-01-01T00:00:00+00:00",
        wall_s=1,
        window_s=1,
        interrupted=interrupted,
    )


def test_every_repetition_is_whole_before_the_next_begins():
    runs = order_of_runs(CELLS, ["statelet", "duplication"], 3, 1, seed=7)
    blocks = [runs[:12], runs[12:20], runs[20:]]
    assert [{run.repetition for run in block} for block in blocks] == [{1}, {2}, {3}]
    assert Counter(run.mode for run in runs) == {"statelet": 12, "duplication": 12, "none": 4}
    assert {run.repetition for run in runs if run.mode == "none"} == {1}
    assert len({run.key for run in runs}) == len(runs)


def test_the_order_is_random_and_repeatable():
    runs = order_of_runs(CELLS, ["statelet", "duplication"], 3, 1, seed=7)
    assert runs == order_of_runs(CELLS, ["statelet", "duplication"], 3, 1, seed=7)
    assert runs != order_of_runs(CELLS, ["statelet", "duplication"], 3, 1, seed=8)
    modes = [run.mode for run in runs[12:]]
    assert modes not in (sorted(modes), sorted(modes, reverse=True))
    cells = [run.cell for run in runs[12:20]]
    assert cells != sorted(cells)


def test_controls_beyond_the_repetitions():
    runs = order_of_runs(CELLS[:1], ["statelet"], 1, 3, seed=1)
    assert sorted((run.mode, run.repetition) for run in runs) == [
        ("none", 1),
        ("none", 2),
        ("none", 3),
        ("statelet", 1),
    ]


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([], False),
        ([attempt(1)], True),
        ([attempt(1, "FAILED")], True),
        ([attempt(1, "INVALID")], False),
        ([attempt(1, "INVALID"), attempt(2, "INVALID")], True),
        ([attempt(1, "INVALID"), attempt(2, "VALID")], True),
        ([attempt(1, "INVALID", interrupted=True)], False),
        ([attempt(1, "INVALID", interrupted=True), attempt(2, "INVALID")], False),
        ([attempt(1, "INVALID"), attempt(2, "INVALID", interrupted=True)], False),
        ([attempt(1, "INVALID"), attempt(2, "INVALID", interrupted=True), attempt(3, "INVALID")], True),
    ],
)
def test_what_is_settled_with_one_retry(attempts, expected):
    assert settled(attempts, 1) is expected
