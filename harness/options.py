"""What the command line decides about a run beside its profile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOptions:
    """How to carry out a run."""

    results: Path
    """Folder the run directory is made in."""
    command_line: tuple[str, ...] = ()
    """As given, for the manifest."""
    profile_text: str = ""
    """The profile file exactly as given, for the run directory."""
    keep: bool = False
    """Leave the testbed standing after the run; `harness clean` removes it."""
    check: bool = False
    """Provisioning only observes and reports what it would change; nothing is created and no load runs."""
    diff: bool = False
    """Provisioning prints what differs from the wanted state."""
    json: bool = False
    """Standard output is one JSON document; everything for people goes to standard error."""
    recorded: Callable[[Path], None] | None = None
    """Hears of every run's folder once its files are complete; it neither raises nor waits."""
