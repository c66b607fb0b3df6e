"""Sweep files in a folder of their own, and runs that are written down at once instead of being made."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.record.summary import LoadSummary, MigrationSummary, RunSummary, ValiditySummary
from harness.sweep.asked import Asked, asked_sweep
from harness.sweep.load import load_sweep
from harness.sweep.matrix import Cell, plan_of
from harness.sweep.order import SweepRun
from harness.sweep.store import create_sweep

ROOT = Path(__file__).resolve().parents[2]
SWEEP = """
[sweep]
profile = "smoke.toml"
modes = ["statelet", "duplication"]
repetitions = 2
[matrix]
"load.rate" = ["10M", "20M"]
"""
STEPS = ("nothing", "directory", "effective", "folder", "summary")


def no_rates(_sizes):
    raise AssertionError("not asked for")


@dataclass
class Recorded:
    """Stands in for the testbed: every run is written at once, its verdict drawn from its key. `interrupt_at` (count
    of calls, step of STEPS) raises KeyboardInterrupt in the middle, once."""

    verdicts: tuple[str, ...] = ("VALID",)
    interrupt_at: tuple[int, str] | None = None
    calls: list[tuple[str, int]] = field(default_factory=list)
    clock_s: float = 0.0

    def __call__(self, cell: Cell, run: SweepRun, runs: Path) -> Path:
        plan = plan_of(cell, run)
        stop = self.interrupt_at[1] if self.interrupt_at and self.interrupt_at[0] == len(self.calls) else ""
        directory = runs / f"{len(list(runs.iterdir())):04d}-{run.key}"
        folder = directory / f"01-{run.mode}"

        def reached(step: str) -> None:
            if step == stop:
                self.interrupt_at = None
                raise KeyboardInterrupt

        reached("nothing")
        directory.mkdir()
        reached("directory")
        document = {"profile": cell.profile.document(), "plan": plan.document()}
        (directory / "effective.json").write_text(json.dumps(document))
        reached("effective")
        folder.mkdir()
        reached("folder")
        attempt = sum(key == run.key for key, _ in self.calls) + 1
        verdict = random.Random(f"{run.key} {attempt}").choice(self.verdicts)
        summary = RunSummary(
            run_id="x",
            profile="x",
            mode=run.mode,
            repetition=run.repetition,
            started_utc="2026-01-01T00:00:00+00:00",
            validity=ValiditySummary(verdict=verdict, reasons=() if verdict == "VALID" else ("a reason",)),
            load=LoadSummary(offered_bps=cell.profile.load.rate_bps, frame_bytes=512),
            migration=MigrationSummary(outcome="completed", duration_ns=400_000_000),
        )
        (folder / "summary.json").write_text(summary.model_dump_json())
        reached("summary")
        self.calls.append((run.key, plan.runs[0].load_seed))
        self.clock_s += 9.0
        return folder


@pytest.fixture
def sweep_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a sweep file beside a copy of the smoke profile."""
    (tmp_path / "smoke.toml").write_text((ROOT / "profiles" / "smoke.toml").read_text())

    def write(text: str = SWEEP, name: str = "mine.toml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def ask() -> Callable[..., Asked]:
    """The sweep of a file as asked for."""

    def made(path: Path, *overrides: str, **options: object) -> Asked:
        return asked_sweep(load_sweep(path, overrides), **{"rates": no_rates, **options})

    return made


@pytest.fixture
def new_sweep(tmp_path: Path) -> Callable[[Asked], Path]:
    """The directory of a sweep with nothing run."""
    return lambda asked: create_sweep(tmp_path / "results", asked.manifest, "as given", {"machine": "none"})
