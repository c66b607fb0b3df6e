"""What the command line decides about a run beside its profile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Recorded(Protocol):
    """Hears of a run's folder when its points begin to be written (`growing`), and once all its files are complete."""

    def __call__(self, folder: Path, *, growing: bool = False) -> None: ...


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
    inventory: Path = Path("hosts.toml")
    """Hosts beside this one."""
    tags: tuple[str, ...] = ()
    """Only tasks of the profile with one of these; all without any."""
    skip_tags: tuple[str, ...] = ()
    """No tasks with one of these."""
    json: bool = False
    """Standard output is one JSON document; everything for people goes to standard error."""
    recorded: Recorded | None = None
    """Hears of every run's folder; it neither raises nor waits."""
