"""The directory of a sweep: made before its first run, opened again to resume, torn runs found and listed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import UsageError
from harness.record.rundir import EFFECTIVE, MANIFEST, SUMMARY, RunDirectory
from harness.record.summary import ExperimentSummary, read_summary
from harness.record.sweep import (
    ENTRIES,
    RUNS,
    SWEEP,
    SWEEP_AS_GIVEN,
    SweepEntry,
    SweepManifest,
    append_entry,
    is_sweep,
    read_entries,
    read_manifest,
    run_key,
)

_IDENTITY = ("sweep_id", "name", "description", "started_utc", "scale_reason", "digest", "calibration")
"""Of a manifest: what does not decide which runs are made and how."""


def sweep_digest(manifest: SweepManifest) -> str:
    """SHA-256 (first 16 hex digits) of everything that decides which runs are made and how."""
    document = {key: value for key, value in manifest.model_dump(mode="json").items() if key not in _IDENTITY}
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def create_sweep(results: Path, manifest: SweepManifest, text: str, machine: dict[str, object]) -> Path:
    """Make the sweep's directory with everything known before the first run. `text`: the file as given; `machine`: the
    manifest of what it runs on. UsageError, MachineError as RunDirectory.create.
    """
    directory = RunDirectory.create(results, manifest.name, manifest.sweep_id)
    directory.write_text(SWEEP_AS_GIVEN, text)
    directory.write_json(MANIFEST, machine)
    (directory.path / RUNS).mkdir()
    directory.write_json(SWEEP, manifest)
    return directory.path


def open_sweep(path: Path, manifest: SweepManifest) -> SweepManifest:
    """The manifest of a sweep that `manifest` may resume. UsageError when it is another sweep; writes nothing."""
    if not is_sweep(path):
        raise UsageError(f"--resume {path}: not the directory of a sweep (it has no {SWEEP})")
    recorded = read_manifest(path)
    if recorded.digest != manifest.digest:
        raise UsageError(
            f"--resume {path}: recorded is another sweep ({_difference(recorded, manifest)}); give the same file, "
            "--set and --scale as for its first run, or start a new sweep without --resume"
        )
    return recorded


def _difference(recorded: SweepManifest, manifest: SweepManifest) -> str:
    old, new = recorded.model_dump(mode="json"), manifest.model_dump(mode="json")
    found = [
        f"{key} {_short(old[key])} there, {_short(new[key])} here"
        for key in old
        if key not in (*_IDENTITY, "cells") and old[key] != new[key]
    ]
    there, here = {cell.digest for cell in recorded.cells}, {cell.digest for cell in manifest.cells}
    if there != here:
        found.append(f"{len(there - here)} cells only there, {len(here - there)} only here")
    return "; ".join(found) or f"digest {recorded.digest} there, {manifest.digest} here"


def _short(value: object) -> str:
    return f"{json.dumps(value):.40}"


def repair_entries(sweep: Path) -> tuple[str, ...]:
    """End a torn last line of runs.jsonl, so that the next entry has a line of its own; returns what is damaged.

    What stands there is kept: it is reported by every reader, and its run is made again.
    """
    path = sweep / ENTRIES
    try:
        with path.open("r+b") as file:
            if file.seek(0, 2) and (file.seek(-1, 2), file.read(1))[1] != b"\n":
                file.write(b"\n")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
    return read_entries(sweep)[1]


def list_torn(sweep: Path, digests: Sequence[str], reason: str) -> tuple[str, ...]:
    """Enter every run directory that no entry names as interrupted, for `reason` unless its own says another; nothing
    of it is changed. Returns a line for each, also for those that do not even tell which run they were.
    """
    entries, _ = read_entries(sweep)
    known = {Path(entry.folder).parts[1] for entry in entries if len(Path(entry.folder).parts) > 1}
    lines = []
    for directory in sorted(path for path in (sweep / RUNS).iterdir() if path.is_dir() and path.name not in known):
        where = f"{RUNS}/{directory.name}"
        try:
            plan = json.loads((directory / EFFECTIVE).read_bytes())["plan"]
            (run,) = plan["runs"]
            digest, mode, repetition = plan["profile_digest"], str(run["mode"]), int(run["repetition"]) + 1
            if digest not in digests:
                raise ValueError("of no cell of this sweep")
        except (OSError, ValueError, KeyError, TypeError) as error:
            lines.append(f"{where}: damaged, left as it is ({error!r:.80})")
            continue
        why = _own_reason(directory) or reason
        key = run_key(digest, mode, repetition)
        folder = next((path.name for path in sorted(directory.glob(f"01-{mode}"))), "")
        append_entry(
            sweep,
            SweepEntry(
                key=key,
                cell=digest,
                mode=mode,
                repetition=repetition,
                attempt=1 + max((entry.attempt for entry in entries if entry.key == key), default=0),
                folder=f"{where}/{folder}" if folder else where,
                verdict="INVALID",
                reasons=(why,),
                started_utc=datetime.fromtimestamp(directory.stat().st_mtime, UTC).isoformat(),
                wall_s=0.0,
                window_s=0.0,
                interrupted=True,
            ),
        )
        entries, _ = read_entries(sweep)
        lines.append(f"{where}: {why}; kept, and made again")
    return tuple(lines)


def _own_reason(directory: Path) -> str:
    try:
        return read_summary(directory / SUMMARY, ExperimentSummary).reason
    except UsageError:
        return ""


def remove_bulk(folder: Path) -> None:
    """Remove what only a closer look at the packets of a run needs: traces, state dumps, packet records. Summaries,
    series, events, logs and the reports of the processes stay."""
    for pattern in ("*.trace", "*.state.npz", "loadgen.npz", "echoserver.npz"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
