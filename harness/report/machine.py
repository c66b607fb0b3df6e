"""What the results were measured on and with, from manifest.json; hostile or missing entries are left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.record.rundir import MANIFEST
from harness.report.hostile import shown

MAX_MANIFEST_BYTES = 16 << 20
MAX_TEXT_BYTES = 64 << 10

_FACTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("CPU", ("cpu", "model")),
    ("CPUs online", ("cpu", "online")),
    ("memory [bytes]", ("memory_bytes",)),
    ("kernel", ("kernel", "release")),
    ("clock source", ("clock_source",)),
    ("harness", ("harness_version",)),
    ("revision", ("git", "revision")),
    ("Python", ("python", "version")),
    ("seed", ("seed",)),
    ("made", ("created_utc",)),
)


def machine_facts(folder: Path) -> tuple[tuple[str, str], ...]:
    """(name, value) of what the manifest in `folder` tells; empty where it is missing or damaged."""
    try:
        path = folder / MANIFEST
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            return ()
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return ()
    found = [(title, _at(manifest, keys)) for title, keys in _FACTS]
    facts = [(title, shown(str(value), 200)) for title, value in found if isinstance(value, (str, int, float))]
    command = manifest.get("command_line") if isinstance(manifest, Mapping) else None
    if isinstance(command, list) and command:
        facts.append(("command line", shown(" ".join(str(word) for word in command), 2000)))
    return tuple(facts)


def text_file(path: Path) -> str:
    """A small text file to be shown as it stands; "" where there is none, it is too large or not text."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_TEXT_BYTES:
            return ""
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _at(value: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
