"""Whether what a killed command has written so far can be read: no file is torn but for a last line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

START, PROVISIONING, RECORDING, TEAR_DOWN = "start", "provisioning", "recording", "tear-down"


def journalled(results: Path) -> list[str]:
    """Every phase of the newest run below `results`, in order: "provisioning" before those it has journalled, then
    "recording" once it has journalled its end, and "tear-down" once its summary is there."""
    experiments = sorted(path.parent for path in results.rglob("profile.toml"))
    if not experiments:
        return []
    logs = sorted(experiments[-1].glob("[0-9][0-9]-*/events.jsonl"))
    if not logs:
        return [PROVISIONING]
    phases = [PROVISIONING, *(json.loads(line)["phase"] for line in whole_lines(logs[-1]))]
    if phases[-1] == "done":
        phases.append(RECORDING)
    if (logs[-1].parent / "summary.json").exists():
        phases.append(TEAR_DOWN)
    return phases


def phase_reached(results: Path) -> str:
    """The last of them; "start" before the first."""
    return ([START, *journalled(results)])[-1]


def whole_lines(path: Path) -> list[bytes]:
    """Lines of a file that have an end."""
    return path.read_bytes().split(b"\n")[:-1]


def torn_files(results: Path) -> Iterator[str]:
    """A line for every file below `results` that is damaged in more than its last line."""
    for path in sorted(results.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_bytes())
            elif path.suffix == ".jsonl":
                for line in whole_lines(path):
                    json.loads(line)
            elif path.suffix == ".lp":
                for line in whole_lines(path):
                    if not line.rsplit(b" ", 1)[-1].isdigit():
                        raise ValueError(f"no time in {line[:60]!r}")
            elif path.suffix == ".npz":
                with np.load(path, allow_pickle=False) as arrays:
                    for name in arrays.files:
                        _ = arrays[name]
        except (ValueError, OSError, KeyError, EOFError) as error:
            yield f"torn: {path}: {error}"
