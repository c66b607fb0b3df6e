"""One schedule after the other, each in a short run of its own; what has been done is not done again."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from harness.errors import DeadlineExceeded, UsageError
from harness.experiment.experiment import process_template
from harness.experiment.standing import StandingExperiment
from harness.faults.checker import Surroundings, check, overall
from harness.options import RunOptions
from harness.plan import Plan, PlannedRun, make_plan
from harness.profile.model import CONTROL, Profile
from harness.provision.connections.template import Template
from harness.provision.interrupt import interruptible
from harness.record.rundir import RunDirectory
from harness.soak.store import RESULTS, CheckedPromise, SoakEntry, append_entry, read_entries
from harness.soak.surroundings import deadline_ns, left_behind, look
from harness.soak.table import line

HANGS_AFTER = 1.5
"""A schedule that has not ended after this many times its deadline is broken off: it hangs."""


@dataclass(frozen=True)
class Soak:
    """`count` schedules of the seeds from `seed` on, with results in `folder`; `tell` gets a line for each."""

    profile: Profile
    count: int
    seed: int
    folder: Path
    tell: Callable[[str], None]

    def carry_out(self) -> list[SoakEntry]:
        """Every entry, those of an earlier call included. UsageError where the folder is of another soak."""
        path = self.folder / RESULTS
        entries = read_entries(path)
        digest = make_plan(self.profile).profile_digest
        for entry in entries:
            if (entry.seed, entry.profile_digest) != (self.seed + entry.number, digest):
                raise UsageError(f"{path}: of another seed or profile; give another folder")
        if len(entries) >= self.count:
            return entries
        self.folder.mkdir(parents=True, exist_ok=True)
        with interruptible(), process_template() as template:
            self._go_on(entries, digest, template)
        return entries

    def _go_on(self, entries: list[SoakEntry], digest: str, template: Template) -> None:
        plan, options = make_plan(self.profile), RunOptions(self.folder / "runs", tuple(sys.argv), "")
        experiment = StandingExperiment(self.profile, plan, options, None, template)
        with experiment.one_by_one() as directory:
            for number in range(len(entries), self.count):
                entry = self._one(experiment, directory, plan, number, digest)
                append_entry(self.folder / RESULTS, entry)
                entries.append(entry)
                self.tell(line(entry, self.count))

    def _one(
        self, experiment: StandingExperiment, directory: RunDirectory, plan: Plan, number: int, digest: str
    ) -> SoakEntry:
        seed = self.seed + number
        profile = self.profile.with_drawn_faults(seed)
        modes = [mode for mode in profile.migration.modes if mode != CONTROL]
        run = PlannedRun(number, 0, modes[number % len(modes)], plan.runs[0].load_seed)
        limit_ns = deadline_ns(profile)
        before = look(experiment.testbed.fabric) if experiment.standing else None
        started_ns = time.monotonic_ns()
        with _watched(HANGS_AFTER * limit_ns / 1e9):
            folder, summary = experiment.one(directory, profile, run)
        took_ns = time.monotonic_ns() - started_ns
        remains: tuple[str, ...] = ()
        if before is not None and experiment.standing:  # otherwise all of it was taken down and is built anew
            remains = left_behind(before, look(experiment.testbed.fabric))
        promises = check(summary, profile.attempts, Surroundings(took_ns, limit_ns, remains))
        verdict = overall(promises)
        if verdict == "kept":
            shutil.rmtree(folder.path, ignore_errors=True)
        return SoakEntry(
            number=number,
            seed=seed,
            profile_digest=digest,
            mode=run.mode,
            faults=summary.faults,
            attempts=summary.migration.attempts,
            validity=summary.validity.verdict,
            reasons=summary.validity.reasons,
            promises=tuple(CheckedPromise.model_validate(promise) for promise in promises),
            verdict=verdict,
            took_s=took_ns / 1e9,
            folder="" if verdict == "kept" else str(folder.path.relative_to(self.folder)),
        )


@contextmanager
def _watched(limit_s: float) -> Iterator[None]:
    """DeadlineExceeded in the main thread, in the middle of whatever it waits for, when the block takes longer."""

    def hangs(_number: int, _frame: FrameType | None) -> None:
        raise DeadlineExceeded(f"schedule: did not end within {limit_s:.0f} s, broken off")

    previous = signal.signal(signal.SIGALRM, hangs)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
