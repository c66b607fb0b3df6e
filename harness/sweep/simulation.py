"""`python -m harness.sweep.simulation RESULTS`: what a sweep costs its controller, by a sweep on simulated testbeds.

Scheduler, workers, TLS, hand-out, transfer, unpacking and the entries on the disk are those of `harness sweep --hosts`;
on a worker the experiment is replaced by a recorded one of RESULTS (a sweep), its files and, scaled, its duration.
Everything runs on this machine, the simulated testbeds too: the rate is that of all together, the CPU time of each
process by itself. A folder of results is removed once its run is entered.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from harness.errors import HarnessError, MachineError
from harness.profile.load import parse_profile
from harness.profile.model import Profile
from harness.provision.interrupt import interruptible
from harness.provision.scratch import scratch_directory
from harness.record.rundir import EFFECTIVE
from harness.record.sweep import Results, read_results
from harness.remote.programs import Program
from harness.sweep.dask_hosts import connected, scheduler
from harness.sweep.dask_settings import configure_dask, new_keys
from harness.sweep.dask_workers import DaskWorkers
from harness.sweep.engine import Session
from harness.sweep.many import Outcome, carry_out
from harness.sweep.matrix import Cell
from harness.sweep.order import Due, SweepRun
from harness.sweep.process_costs import Costs, costs_of
from harness.sweep.simulated_run import read_recorded, replayed
from harness.sweep.store import create_sweep

ADDRESS = "127.0.0.1"
WORKERS = "harness.sweep.simulated_workers"
WORKERS_PER_PROCESS = 250
START_S = 600.0
REST_S = 2.0
"""Before a piece: workers that have just started still send their first reports."""


@dataclass(frozen=True)
class Replay:
    """What simulated testbeds give back: runs of the results at `path`, all their files or only the summary, after
    `time_scale` seconds for each second recorded, in a sweep of at least `sweep_runs`."""

    path: Path
    summaries_only: bool = False
    time_scale: float = 0.0
    sweep_runs: int = 0


@dataclass(frozen=True)
class Piece:
    """One session. CPU times in seconds, memory in bytes; `workers` are all simulated testbeds together."""

    testbeds: int
    runs: int
    replay: Replay
    wall_s: float
    archive_bytes: int
    scheduler: Costs
    controller: Costs
    workers: Costs

    def document(self) -> dict[str, Any]:
        """With what follows: runs per second, and CPU time per run."""
        each = {
            f"{name}_cpu_ms_per_run": 1e3 * costs.cpu_s / self.runs
            for name, costs in (
                ("scheduler", self.scheduler),
                ("controller", self.controller),
                ("workers", self.workers),
            )
        }
        return {
            "testbeds": self.testbeds,
            "runs": self.runs,
            "time_scale": self.replay.time_scale,
            "summaries_only": self.replay.summaries_only,
            "wall_s": self.wall_s,
            "runs_per_s": self.runs / self.wall_s,
            "archive_bytes_per_run": self.archive_bytes / self.runs,
            **each,
            "scheduler_rss_bytes": self.scheduler.rss_bytes,
            "controller_rss_bytes": self.controller.rss_bytes,
        }


class _Counted:
    """Workers whose archives are counted."""

    def __init__(self, workers: DaskWorkers) -> None:
        self._workers, self.archive_bytes = workers, 0

    def free(self) -> int:
        return self._workers.free()

    def give(self, cell: Cell, due: Due) -> None:
        self._workers.give(cell, due)

    def take(self) -> Outcome:
        outcome = self._workers.take()
        self.archive_bytes += len(outcome.archive or b"")
        return outcome


@contextlib.contextmanager
def simulated(testbeds: int, replay: Replay) -> Iterator[tuple[DaskWorkers, list[Program], Program]]:
    """(workers, the processes of the testbeds, that of the scheduler) on this machine. MachineError."""
    configure_dask()
    keys = new_keys()
    with contextlib.ExitStack() as stack:
        program = stack.enter_context(scheduler(ADDRESS, keys))
        client = stack.enter_context(connected(program.address, keys, "the scheduler of the simulation"))
        names = [f"testbed-{number:04d}" for number in range(testbeds)]
        programs = []
        for first in range(0, testbeds, WORKERS_PER_PROCESS):
            configuration = {
                "scheduler": program.address,
                "address": ADDRESS,
                "keys": keys,
                "names": names[first : first + WORKERS_PER_PROCESS],
                "recorded": str(replay.path),
                "summaries_only": replay.summaries_only,
                "time_scale": replay.time_scale,
            }
            programs.append(Program(WORKERS, configuration))
            stack.callback(programs[-1].end)
        for started in programs:
            if started.event(START_S) is None:
                raise MachineError(f"{testbeds} simulated testbeds did not start within {START_S:g} s")
        yield DaskWorkers(client, "simulation", "all", "off", job=replayed), programs, program.program


def simulated_sweep(results: Results, runs: int, folder: Path, sweep_runs: int = 0) -> Session:
    """A session of `runs` runs of a sweep of at least `sweep_runs`, over the cells of recorded results, in a new
    directory below `folder`."""
    profiles: dict[str, Profile] = {}
    for result in results.results:
        with contextlib.suppress(OSError, ValueError, KeyError, HarnessError):  # of another version of the program
            document = json.loads((result.folder.parent / EFFECTIVE).read_bytes())["profile"]
            profiles.setdefault(result.cell.digest, parse_profile(document, source="recorded"))
    made = [Cell(profile.name, profile, profile, {"recorded": old}) for old, profile in profiles.items()]
    cells = tuple({cell.digest: cell for cell in made}.values())
    if not cells or results.manifest is None:
        raise MachineError(f"{results.path}: not a sweep of this version of the program")
    modes = results.manifest.modes
    manifest = results.manifest.model_copy(
        update={
            "repetitions": -(-max(runs, sweep_runs) // (len(cells) * len(modes))),
            "control_repetitions": 0,
            "retries": 0,
            "keep": "all",
            "stop": None,
            "cells": tuple(cell.document() for cell in cells),
        }
    )
    path = create_sweep(folder, manifest, "", {"simulation": str(results.path)})
    return Session(path, manifest, cells, _not_here, lambda _line: None, limit=runs)


def measure(results: Results, replay: Replay, testbeds: int, runs: int, pieces: int) -> list[Piece]:
    """`pieces` sessions of one sweep, of `runs` runs each, one after the other on the same testbeds."""
    found = []
    with scratch_directory("simulation") as folder, simulated(testbeds, replay) as parts:
        workers, programs, program = parts
        first = simulated_sweep(results, runs, folder, max(replay.sweep_runs, pieces * runs))
        for _ in range(pieces):
            session = Session(first.sweep, first.manifest, first.cells, _not_here, lambda _line: None, limit=runs)
            time.sleep(REST_S)
            counted = _Counted(workers)
            groups: Sequence[Sequence[int | None]] = ([program.pid], [None], [one.pid for one in programs])
            before = [costs_of(pids) for pids in groups]
            began_s = time.monotonic()
            carry_out(session, counted, lambda line: click.echo(line, err=True), _forget)
            wall_s = time.monotonic() - began_s
            used = [
                replace(after, cpu_s=after.cpu_s - old.cpu_s)
                for after, old in zip(map(costs_of, groups), before, strict=True)
            ]
            found.append(Piece(testbeds, runs, replay, wall_s, counted.archive_bytes, *used))
    return found


def _forget(folder: Path) -> None:
    shutil.rmtree(folder.parent)


def _not_here(_cell: Cell, run: SweepRun, _runs: Path) -> Path:
    raise AssertionError(f"{run.key} is for a simulated testbed")


@click.command()
@click.argument("path", metavar="RESULTS", type=click.Path(path_type=Path))
@click.option("--runs", type=click.IntRange(min=1), default=3000, show_default=True, help="Of each piece.")
@click.option("--testbeds", type=click.IntRange(min=1), multiple=True, default=(10, 100, 1000), show_default=True)
@click.option("--pieces", type=click.IntRange(min=1), default=3, show_default=True)
@click.option(
    "--time-scale",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Seconds a simulated testbed takes for each second of the recorded run; 0: results come at once.",
)
@click.option(
    "--sweep-runs", type=click.IntRange(min=0), default=0, help="Of the sweep the pieces are sessions of, if more."
)
@click.option("--summaries-only", is_flag=True, help="Of a result only its summary is sent and stored.")
def main(
    path: Path,
    runs: int,
    testbeds: Sequence[int],
    pieces: int,
    time_scale: float,
    sweep_runs: int,
    summaries_only: bool,
) -> None:
    """Print one JSON document: what is replayed, and every piece of every number of testbeds."""
    try:
        results = read_results(path.resolve())
        recorded = read_recorded(results)
        files = [one.files for one in recorded]
        replay = Replay(results.path, summaries_only, time_scale, sweep_runs)
        document: dict[str, Any] = {
            "recorded_runs": len(recorded),
            "recorded_wall_s": sum(one.wall_s for one in recorded) / len(recorded),
            "files_per_run": sum(map(len, files)) / len(files),
            "bytes_per_run": sum(len(content) for one in files for content in one.values()) / len(files),
            "points_per_run": sum(
                content.count(b"\n") for one in files for name, content in one.items() if name.endswith("/points.lp")
            )
            / len(files),
            "pieces": [],
        }
        with interruptible():
            for count in testbeds:
                for piece in measure(results, replay, count, runs, pieces):
                    document["pieces"].append(piece.document())
                    click.echo(json.dumps(document["pieces"][-1]), err=True)
    except HarnessError as error:
        click.echo(f"simulation: error: {error}", err=True)
        sys.exit(error.exit_code)
    click.echo(json.dumps(document, indent=2, allow_nan=False))


if __name__ == "__main__":
    main()
