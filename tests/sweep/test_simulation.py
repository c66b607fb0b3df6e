"""Sweeps on simulated testbeds: a real scheduler and real workers, recorded results."""

from __future__ import annotations

import os
import signal

import pytest

from harness.provision.state_directory import STATE_VARIABLE
from harness.record.sweep import read_entries, read_results
from harness.sweep import simulation
from harness.sweep.engine import Session, runs_of
from harness.sweep.many import carry_out
from harness.sweep.simulated_run import read_recorded
from harness.sweep.simulation import Replay, measure, simulated, simulated_sweep
from tests.sweep.conftest import SWEEP, Recorded

pytestmark = [pytest.mark.timeout(120)]
RUNS = 9


@pytest.fixture
def recorded(sweep_file, ask, new_sweep):
    """A sweep of 12 runs, each of 9 s."""
    asked = ask(sweep_file(SWEEP.replace("repetitions = 2", "repetitions = 2\ncontrol_repetitions = 2")))
    path, run = new_sweep(asked), Recorded()
    Session(path, asked.manifest, asked.cells, run, lambda _line: None, clock_s=lambda: run.clock_s).carry_out()
    return read_results(path)


def test_what_is_replayed_are_the_valid_runs(recorded):
    found = read_recorded(recorded)
    assert [one.wall_s for one in found] == [9.0] * 12
    assert {one.mode for one in found} == {"none", "statelet", "duplication"}
    assert set(found[0].files) == {"effective.json", f"01-{found[0].mode}/summary.json"}
    for one in read_recorded(recorded, summaries_only=True):
        assert set(one.files) == {f"01-{one.mode}/summary.json"}


def test_every_piece_is_a_whole_session(recorded):
    pieces = measure(recorded, Replay(recorded.path), testbeds=3, runs=RUNS, pieces=2)
    assert [piece.document()["runs"] for piece in pieces] == [RUNS, RUNS]
    for piece in pieces:
        assert piece.wall_s > 0
        assert piece.archive_bytes > RUNS * 100
        assert min(piece.scheduler.rss_bytes, piece.workers.rss_bytes) > 10 << 20
        assert 0 <= piece.scheduler.cpu_s < 60


def test_the_run_of_a_testbed_that_is_killed_is_made_on_another(recorded, monkeypatch, tmp_path):
    monkeypatch.setattr(simulation, "WORKERS_PER_PROCESS", 1)
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # what is killed leaves its files
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    with simulated(3, Replay(recorded.path, time_scale=0.05)) as (workers, programs, _scheduler):
        session = simulated_sweep(recorded, RUNS, tmp_path)
        assert workers.free() == 3
        told = []
        give = workers.give

        def give_and_kill(cell, due):
            give(cell, due)
            if workers.free() == 0 and len(programs) == 3:
                os.kill(programs.pop().pid, signal.SIGKILL)  # testbed-0002, in the middle of its run

        monkeypatch.setattr(workers, "give", give_and_kill)
        result = carry_out(session, workers, told.append)
    entries, complaints = read_entries(session.sweep)
    assert complaints == ()
    assert told[0].startswith("testbed-0002: lost during the run")
    (lost,) = [entry for entry in entries if entry.interrupted]
    assert lost.host == "testbed-0002"
    made = {entry.key: entry.host for entry in entries if not entry.interrupted}
    assert len(made) == RUNS
    assert made[lost.key] in ("testbed-0000", "testbed-0001")
    assert result.left == len(runs_of(session.manifest)) - RUNS
    whole = [run for run in read_results(session.sweep).results if run.summary is not None]
    assert [(run.summary.mode, run.summary.repetition) for run in whole] == [
        (run.mode, run.repetition) for run in whole
    ]
