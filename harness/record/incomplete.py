"""Experiments that did not come to their end: what the files tell that were on the disk when they were cut off."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.record.events import read_events
from harness.record.rundir import EFFECTIVE, EVENTS, MANIFEST, PROFILE, SUMMARY
from harness.record.summary import ExperimentSummary, is_run_summary, read_summary

_RUN_FOLDER = re.compile(r"\d\d+-.+")
_EXPERIMENT = re.compile(r"\d{8}T\d{6}Z-.+-[a-z][a-z0-9]{7}")


@dataclass(frozen=True)
class Unfinished:
    """A run without a summary. phase: the last one journalled, "" where none was."""

    folder: Path
    phase: str

    @property
    def text(self) -> str:
        """What became of it, in a few words."""
        return f"cut off in phase {self.phase}" if self.phase else "cut off before its first phase"


def run_folders(experiment: Path) -> list[Path]:
    """Folders of the runs of an experiment that were begun, in order."""
    return sorted(entry for entry in experiment.iterdir() if entry.is_dir() and _RUN_FOLDER.fullmatch(entry.name))


def unfinished_runs(experiment: Path) -> list[Unfinished]:
    """Runs that were begun and have no summary, in order."""
    return [Unfinished(path, _phase(path)) for path in run_folders(experiment) if not (path / SUMMARY).is_file()]


def _phase(folder: Path) -> str:
    try:
        events = read_events(folder / EVENTS)
    except UsageError:
        return ""
    return events[-1].phase if events else ""


def is_experiment(path: Path) -> bool:
    """Whether a directory is that of an experiment, however early it was cut off."""
    return any((path / name).is_file() for name in (PROFILE, EFFECTIVE, MANIFEST)) or bool(
        _EXPERIMENT.fullmatch(path.resolve().name)
    )


def why_incomplete(experiment: Path) -> str:
    """Why an experiment is not whole, in one line; "" for one that is, and for the directory of a run.

    UsageError for a damaged summary.
    """
    summary = experiment / SUMMARY
    if not summary.is_file():
        runs = "; ".join(f"{run.folder.name} {run.text}" for run in unfinished_runs(experiment))
        return f"without a summary: it is running or was cut off ({runs or 'between its runs'})"
    if is_run_summary(summary):
        return ""
    found = read_summary(summary, ExperimentSummary)
    return "" if found.completed else f"not completed: {found.reason or 'no reason recorded'}"
