from __future__ import annotations

import random
from itertools import pairwise

import pytest

from harness.errors import MachineError
from harness.record.sweep import read_entries, read_results
from harness.sweep.engine import Session, runs_of
from tests.sweep.conftest import STEPS, SWEEP, Recorded

MANY = SWEEP.replace("repetitions = 2", "repetitions = 5\ncontrol_repetitions = 2\nretries = 2")
ALL_VERDICTS = ("VALID", "VALID", "INVALID", "FAILED")


def session(path, asked, run, **options):
    return Session(path, asked.manifest, asked.cells, run, lambda _line: None, clock_s=lambda: run.clock_s, **options)


def finished(path):
    """What was made and counted, in order."""
    entries, complaints = read_entries(path)
    assert complaints == ()
    return [(entry.key, entry.verdict) for entry in entries if not entry.interrupted]


def test_every_run_is_made_once_in_the_order_of_the_sweep(sweep_file, ask, new_sweep):
    asked = ask(sweep_file(MANY))
    path, run = new_sweep(asked), Recorded()
    result = session(path, asked, run).carry_out()
    assert [key for key, _ in run.calls] == [item.key for item in runs_of(asked.manifest)]
    assert (result.left, result.failed, len(result.entries)) == (0, False, 2 * (2 * 5 + 2))
    assert {entry.wall_s for entry in result.entries} == {9.0}
    assert {entry.window_s for entry in result.entries} == {4.0}


def test_invalid_is_repeated_at_once_and_failed_is_not(sweep_file, ask, new_sweep):
    asked = ask(sweep_file(MANY))
    path, run = new_sweep(asked), Recorded(ALL_VERDICTS)
    result = session(path, asked, run).carry_out()
    assert result.failed
    attempts = {}
    for entry in result.entries:
        attempts.setdefault(entry.key, []).append(entry)
    assert set(attempts) == {item.key for item in runs_of(asked.manifest)}
    for made in attempts.values():
        assert [entry.attempt for entry in made] == list(range(1, len(made) + 1))
        assert all(entry.verdict == "INVALID" for entry in made[:-1])
        assert made[-1].verdict != "INVALID" or len(made) == 3
    assert any(len(made) == 2 for made in attempts.values())
    positions = [entry.key for entry in result.entries]
    assert sum(one != other for one, other in pairwise(positions)) == len(attempts) - 1
    superseded = [found for found in read_results(path).results if found.superseded]
    assert len(superseded) == len(result.entries) - len(attempts)


@pytest.mark.parametrize("seed", range(4))
def test_a_sweep_interrupted_ten_times_makes_the_runs_of_an_uninterrupted_one(sweep_file, ask, new_sweep, seed):
    asked = ask(sweep_file(MANY))
    whole, straight = new_sweep(asked), Recorded(ALL_VERDICTS)
    session(whole, asked, straight).carry_out()

    path = new_sweep(ask(sweep_file(MANY)))
    run, chance = Recorded(ALL_VERDICTS), random.Random(seed)
    breaks = sorted(chance.sample(range(len(straight.calls)), 10))
    for at in breaks:
        run.interrupt_at = (at, chance.choice(STEPS))
        with pytest.raises(KeyboardInterrupt):
            session(path, ask(sweep_file(MANY)), run).carry_out()
    session(path, ask(sweep_file(MANY)), run).carry_out()

    assert finished(path) == finished(whole)
    assert list(dict.fromkeys(run.calls)) == list(dict.fromkeys(straight.calls))
    folders = [entry.folder for entry in read_entries(path)[0]]
    assert len(set(folders)) == len(folders)
    kept = {folder.name for folder in (path / "runs").iterdir()}
    assert {folder.split("/")[1] for folder in folders} <= kept


@pytest.mark.parametrize("step", STEPS[1:])
def test_a_run_that_was_killed_is_listed_and_made_again(sweep_file, ask, new_sweep, step):
    """SIGKILL: nothing is written after it."""
    asked = ask(sweep_file())
    path, killed = new_sweep(asked), Recorded(interrupt_at=(0, step))
    first = runs_of(asked.manifest)[0]
    with pytest.raises(KeyboardInterrupt):
        killed(next(cell for cell in asked.cells if cell.digest == first.cell), first, path / "runs")
    (torn,) = (path / "runs").iterdir()
    before = sorted(torn.rglob("*"))

    again = session(path, asked, Recorded())
    result = again.carry_out()
    assert sorted(torn.rglob("*")) == before
    assert any(torn.name in line for line in again.damaged)
    assert len([entry for entry in result.entries if not entry.interrupted]) == len(runs_of(asked.manifest))
    if step != "directory":  # before that it does not even say which run it is
        (listed,) = [entry for entry in result.entries if entry.interrupted]
        assert (listed.key, listed.attempt, listed.verdict) == (first.key, 1, "INVALID")
        (found,) = [one for one in read_results(path).results if one.summary is None]
        assert found.superseded
        assert "ended in the middle" in found.damage
    third = session(path, asked, Recorded()).carry_out()
    assert third.entries == result.entries


def test_a_torn_line_is_reported_and_its_run_made_again(sweep_file, ask, new_sweep):
    asked = ask(sweep_file())
    path = new_sweep(asked)
    session(path, asked, Recorded(), limit=3).carry_out()
    lines = (path / "runs.jsonl").read_bytes()
    (path / "runs.jsonl").write_bytes(lines[:-40])
    again = session(path, asked, Recorded())
    result = again.carry_out()
    assert any("runs.jsonl:3: not an entry" in line for line in again.damaged)
    done = [entry.key for entry in result.entries if not entry.interrupted]
    assert sorted(done) == sorted(item.key for item in runs_of(asked.manifest))
    assert len({entry.folder for entry in result.entries}) == len(result.entries)


def test_limit_ends_a_session_early(sweep_file, ask, new_sweep):
    asked = ask(sweep_file())
    path = new_sweep(asked)
    total = len(runs_of(asked.manifest))
    result = session(path, asked, Recorded(), limit=3).carry_out()
    assert (len(result.entries), result.left) == (3, total - 3)
    assert session(path, asked, Recorded()).agenda.left() == total - 3
    assert len(session(path, asked, Recorded()).carry_out().entries) == total


def test_a_testbed_that_cannot_be_built_ends_the_sweep(sweep_file, ask, new_sweep):
    asked = ask(sweep_file())
    path = new_sweep(asked)

    def broken(_cell, _run, _runs):
        raise MachineError("no namespaces here")

    broken.clock_s = 0.0
    with pytest.raises(MachineError, match="no namespaces"):
        session(path, asked, broken).carry_out()
    assert finished(path) == []


def test_repeating_stops_once_the_interval_is_narrow(sweep_file, ask, new_sweep):
    rule = '[sweep.stop]\nmetric = "migration.duration_ns"\nhalf_width = 1.0\nminimum_repetitions = 3\n'
    text = SWEEP.replace("repetitions = 2", "repetitions = 6\ncontrol_repetitions = 0").replace(
        "[matrix]", rule + "[matrix]"
    )
    asked = ask(sweep_file(text))
    path, run = new_sweep(asked), Recorded()
    for _ in range(30):
        session(path, ask(sweep_file(text)), run, limit=1).carry_out()
    # Every duration is the same: three repetitions are enough, whatever the number of sessions.
    counts = {}
    for key, _ in run.calls:
        counts[key.rpartition("-")[0]] = counts.get(key.rpartition("-")[0], 0) + 1
    assert set(counts.values()) == {3}
    assert len(counts) == 4


@pytest.mark.parametrize("keep", ["figures", "all"])
def test_bulk_of_valid_runs_is_removed(sweep_file, ask, new_sweep, keep):
    asked = ask(sweep_file(), f"sweep.keep={keep}")
    path, run = new_sweep(asked), Recorded(("VALID", "FAILED"))
    bulky, kept = (
        ("source.trace", "destination.state.npz", "loadgen.npz", "echoserver.npz"),
        ("series.npz", "points.lp"),
    )

    def with_files(cell, item, runs):
        folder = run(cell, item, runs)
        for name in (*bulky, *kept):
            (folder / name).write_text("x")
        return folder

    with_files.clock_s = 0.0
    result = session(path, asked, with_files).carry_out()
    assert {entry.verdict for entry in result.entries} == {"VALID", "FAILED"}
    for entry in result.entries:
        folder = path / entry.folder
        assert all((folder / name).exists() for name in (*kept, "summary.json"))
        removed = keep == "figures" and entry.verdict == "VALID"
        assert [(folder / name).exists() for name in bulky] == [not removed] * len(bulky)
