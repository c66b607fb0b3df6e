"""What comes next, against the same thing derived from all entries at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.record.sweep import SweepEntry
from harness.sweep.agenda import Agenda
from harness.sweep.order import order_of_runs, settled

CELLS = [f"{n:016x}" for n in range(3)]
RUNS = order_of_runs(CELLS, ["statelet", "duplication"], 4, 1, seed=3)


def entry(due, verdict="VALID", interrupted=False):
    run = due.run
    return SweepEntry(
        key=run.key,
        cell=run.cell,
        mode=run.mode,
        repetition=run.repetition,
        attempt=due.attempt,
        folder="runs/x",
        verdict=verdict,
        started_utc="2026-01-01T00:00:00+00:00",
        wall_s=5.0,
        window_s=2.0,
        interrupted=interrupted,
    )


def left_of(entries, retries, stopped):
    made = {}
    for one in entries:
        made.setdefault(one.key, []).append(one)
    return [
        run
        for run in RUNS
        if not settled(made.get(run.key, []), retries) and not (run.key not in made and stopped(run, made))
    ]


def after_two_valid(run, attempts):
    """A rule that looks at the repetitions before a run."""
    before = [one for made in attempts.values() for one in made if one.repetition < run.repetition]
    here = [one for one in before if (one.cell, one.mode) == (run.cell, run.mode) and one.verdict == "VALID"]
    return len({one.repetition for one in here if not one.interrupted}) >= 2


ENDS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["VALID", "VALID", "INVALID", "FAILED"]), st.booleans()),
    max_size=120,
)


@given(ENDS, st.integers(1, 6), st.integers(0, 2), st.booleans())
def test_it_hands_out_the_first_that_is_left_whatever_ends_first(ends, at_once, retries, rule):
    enough = after_two_valid if rule else None
    stopped = enough or (lambda _run, _made: False)
    agenda, entries, under_way = Agenda(RUNS, (), retries, enough), [], []
    for number, verdict, interrupted in ends:
        while len(under_way) < at_once and (due := agenda.take()) is not None:
            busy = {(item.run.cell, item.run.mode) for item in under_way} if rule else set()
            taken = {item.run.key for item in under_way}
            free = [
                r for r in left_of(entries, retries, stopped) if r.key not in taken and (r.cell, r.mode) not in busy
            ]
            assert due.run == free[0]
            assert due.attempt == 1 + sum(one.key == due.run.key for one in entries)
            under_way.append(due)
        if not under_way:
            assert left_of(entries, retries, stopped) == []
            break
        ended = under_way.pop(number % len(under_way))
        entries.append(entry(ended, verdict, interrupted))
        agenda.enter(entries[-1])
        assert agenda.left() == len(left_of(entries, retries, stopped))
        again = Agenda(RUNS, entries, retries, enough)
        assert (again.left(), again.left_by_cell(), again.overhead_s) == (
            agenda.left(),
            agenda.left_by_cell(),
            agenda.overhead_s,
        )


def test_the_overhead_is_of_finished_runs():
    agenda = Agenda(RUNS, (), 0)
    assert agenda.overhead_s is None
    agenda.enter(entry(agenda.take(), interrupted=True))
    assert agenda.overhead_s is None
    agenda.enter(entry(agenda.take()))
    assert agenda.overhead_s == 3.0
