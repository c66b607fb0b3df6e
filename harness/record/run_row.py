"""One line about a run, for lists: its main figures, and where it is. Read from the run's own files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness.errors import UsageError
from harness.record.rundir import MANIFEST, SUMMARY
from harness.record.summary import RunSummary, read_summary

_MANIFEST_BYTES_MAX = 1 << 20
_TEXT_MAX = 300
_COUNT_MAX = 2**63 - 1


class RunRow(BaseModel):
    """A run, or a directory that could not be read: `problem` then says why and everything measured is None.

    path: of the run's folder, relative to the results; sweep: name of the sweep's directory, "" outside one;
    git_revision: of the program that made it; offered_bps counts both directions through the VNF; loss_s, rtt_late_s
    (RTT > 15 ms) and duration_s (of the migration) are None where they were not measured.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    path: str
    experiment: str = ""
    sweep: str = ""
    run_id: str = ""
    profile: str = ""
    mode: str = ""
    repetition: int | None = None
    started_utc: str = ""
    verdict: str = ""
    reasons: str = ""
    outcome: str = ""
    offered_bps: int | None = None
    frame_bytes: int | None = None
    lost_packets: int | None = None
    late_packets: int | None = None
    loss_s: float | None = None
    rtt_late_s: float | None = None
    rtt_p50_ms: float | None = None
    rtt_p99_ms: float | None = None
    duration_s: float | None = None
    git_revision: str = ""
    git_changed: bool | None = None
    problem: str = ""


def unreadable(path: str, sweep: str, problem: str) -> RunRow:
    """A directory of which nothing is known but why."""
    return RunRow(path=path, sweep=sweep, problem=printable(problem))


def printable(text: str) -> str:
    """At most _TEXT_MAX characters, none of which acts on a terminal or ends a line."""
    return "".join(character if character.isprintable() else "?" for character in text[:_TEXT_MAX])


def read_row(folder: Path, path: str, sweep: str, git: tuple[str, bool | None]) -> RunRow:
    """The row of the run in `folder`; never an error: what is wrong with it is its `problem`."""
    try:
        return _row(read_summary(folder / SUMMARY, RunSummary), path, sweep, git)
    except UsageError as error:
        if not (folder / SUMMARY).exists():
            return unreadable(path, sweep, f"no {SUMMARY}: the run goes on, or was ended by force")
        return unreadable(path, sweep, str(error))
    except (ValueError, OverflowError) as error:
        return unreadable(path, sweep, f"{folder / SUMMARY}: not a measurement ({error!s:.80})")


def _row(summary: RunSummary, path: str, sweep: str, git: tuple[str, bool | None]) -> RunRow:
    window, migration = summary.window, summary.migration
    completed = migration.outcome == "completed" and migration.duration_ns is not None
    figures: dict[str, Any] = {}
    if window is not None:
        figures = {
            "lost_packets": window.lost_packets,
            "late_packets": window.late_packets,
            "loss_s": window.loss_s,
            "rtt_late_s": window.rtt_late_s,
            "rtt_p50_ms": _ms(window.rtt_p50_ns),
            "rtt_p99_ms": _ms(window.rtt_p99_ns),
        }
    row = RunRow(
        path=path,
        experiment=printable(Path(path).parent.name),
        sweep=sweep,
        run_id=printable(summary.run_id),
        profile=printable(summary.profile),
        mode=printable(summary.mode),
        repetition=summary.repetition,
        started_utc=_seconds_utc(summary.started_utc),
        verdict=summary.validity.verdict,
        reasons=printable("; ".join(summary.validity.reasons)),
        outcome=migration.outcome,
        offered_bps=summary.load.offered_bps,
        frame_bytes=summary.load.frame_bytes,
        duration_s=(migration.duration_ns or 0) / 1e9 if completed else None,
        git_revision=git[0],
        git_changed=git[1],
        **figures,
    )
    large = [name for name, value in row if isinstance(value, (int, float)) and abs(value) > _COUNT_MAX]
    if large:
        raise ValueError(f"{large[0]} is beyond 64 bits")
    return row


def _ms(time_ns: int | None) -> float | None:
    return None if time_ns is None else time_ns / 1e6


def _seconds_utc(text: str) -> str:
    """ "2026-11-21T14:58:28Z", which sorts as text; ValueError for what is no time."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_git(experiment: Path) -> tuple[str, bool | None]:
    """(revision, changed) of the program that made an experiment; ("", None) where its manifest does not tell."""
    try:
        with (experiment / MANIFEST).open("rb") as file:
            git = json.loads(file.read(_MANIFEST_BYTES_MAX))["git"]
        revision, changed = git["revision"], git["changed"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return "", None
    if not isinstance(revision, str) or not isinstance(changed, bool | None):
        return "", None
    return printable(revision)[:64], changed
