from __future__ import annotations

import pytest

from harness.record.summary import LoadSummary, MigrationSummary, RunSummary, ValiditySummary
from harness.record.sweep import SweepEntry
from harness.sweep.progress import Progress, duration_text, run_line, seconds_left, verdict_counts

CELL, OTHER = "0123456789abcdef", "fedcba9876543210"


def entry(key="k", attempt=1, verdict="VALID", wall_s=20.0, interrupted=False):
    return SweepEntry(
        key=key,
        cell=CELL,
        mode="statelet",
        repetition=2,
        attempt=attempt,
        folder="runs/x",
        verdict=verdict,
        started_utc="2026-01-01T00:00:00+00:00",
        wall_s=wall_s,
        window_s=15.0,
        interrupted=interrupted,
    )


def test_a_line_says_what_a_run_was_and_what_is_left():
    summary = RunSummary(
        run_id="x",
        profile="x",
        mode="statelet",
        started_utc="2026-01-01T00:00:00+00:00",
        validity=ValiditySummary(verdict="VALID"),
        load=LoadSummary(offered_bps=10, frame_bytes=512),
        migration=MigrationSummary(outcome="completed", duration_ns=401_000_000),
    )
    line = run_line(Progress(7, 112), "load.rate=100M", entry(attempt=2), summary, 900.0)
    assert line == (
        "[  7/112] load.rate=100M statelet r2 (attempt 2): VALID  loss - s  RTT>15ms - s  migration 401 ms  "
        "in 20.0 s (overhead 5.0 s), 15 min left"
    )


def test_time_left_uses_the_overhead_measured_so_far():
    left, windows_s = {CELL: 2, OTHER: 1}, {CELL: 15.0, OTHER: 5.0}
    assert seconds_left(left, windows_s, None) == 2 * (15.0 + 6.0) + 5.0 + 6.0
    assert seconds_left(left, windows_s, 4.0) == 2 * (15.0 + 4.0) + 5.0 + 4.0


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (45.4, "45 s"), (600, "10 min"), (11_100, "3 h 05 min")])
def test_durations(seconds, text):
    assert duration_text(seconds) == text


def test_repeated_and_interrupted_attempts_are_counted_apart():
    entries = [
        entry("a", 1, "INVALID"),
        entry("a", 2, "VALID"),
        entry("b", 1, "INVALID", interrupted=True),
        entry("b", 2, "FAILED"),
    ]
    assert verdict_counts(entries) == {"VALID": 1, "INVALID": 0, "FAILED": 1, "repeated": 1, "interrupted": 1}
