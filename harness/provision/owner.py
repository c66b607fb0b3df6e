"""Who started what, in a form that outlives the starter: the mark its processes carry, and whether it still lives.

Every process of the program passes an environment variable on, and whatever it starts inherits it. A process that
carries the mark of one that has ended, in the same state directory, was left behind: also one that was killed before it
could be written down, and what a program of somebody else started in a run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

from harness.provision.connections.spawned import process_start_ticks

OWNER_VARIABLE = "SLIM_HARNESS_OWNER"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")


@cache
def boot_id() -> str:
    """What tells this start of the machine from every other; empty where the kernel does not tell."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


@cache
def process_numbering() -> int:
    """Inode of this process's pid namespace: in another one the same number is another process. 0 if unknown."""
    try:
        return _PID_NAMESPACE.stat().st_ino
    except OSError:
        return 0


@dataclass(frozen=True)
class Owner:
    """A process that owns objects: its number, start time (clock ticks since boot), numbering of processes and boot."""

    pid: int
    start_ticks: int
    numbering: int
    boot: str

    @classmethod
    def present(cls) -> Self:
        """This process."""
        pid = os.getpid()
        return cls(pid, process_start_ticks(pid) or 0, process_numbering(), boot_id())

    @classmethod
    def parse(cls, entry: Any) -> Self | None:
        """From a record; None where that is no owner."""
        try:
            return cls(int(entry["pid"]), int(entry["start_ticks"]), int(entry["numbering"]), str(entry["boot"]))
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def is_of_this_boot(self) -> bool:
        """Whether the machine has not been started anew since: otherwise nothing it owned exists any more."""
        return self.boot == boot_id()

    @property
    def has_ended(self) -> bool:
        """Whether it certainly has ended; one in another numbering of processes may still live."""
        if not self.is_of_this_boot:
            return True
        return self.numbering == process_numbering() and process_start_ticks(self.pid) != self.start_ticks

    def mark(self, directory: Path) -> str:
        """Value of OWNER_VARIABLE for its processes. directory: where it records what it owns."""
        return f"{self.pid}:{self.start_ticks}:{self.numbering}:{directory.resolve()}"


def mark_processes(directory: Path) -> None:
    """From now on, what this process starts carries its mark."""
    os.environ[OWNER_VARIABLE] = Owner.present().mark(directory)


def orphans(directory: Path) -> Iterator[tuple[int, int]]:
    """(process id, start ticks) of every process that carries the mark of an owner of `directory` that has ended.

    This process and those that started it are left out. One that this user may not look into is not seen.
    """
    spared = _ancestors()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) in spared:
            continue
        pid = int(entry.name)
        # Before the environment is read: were the number given to another process meanwhile, this would not match.
        ticks = process_start_ticks(pid)
        if ticks is None:
            continue
        with contextlib.suppress(OSError):
            owner = _marked((entry / "environ").read_bytes(), directory)
            if owner is not None and owner.has_ended:
                yield pid, ticks


def _marked(environment: bytes, directory: Path) -> Owner | None:
    """The owner that an environment names, if it is one of this directory and this numbering of processes."""
    prefix = f"{OWNER_VARIABLE}=".encode()
    for variable in environment.split(b"\0"):
        if variable.startswith(prefix):
            pid, ticks, numbering, where = (variable.removeprefix(prefix).split(b":", 3) + [b""] * 3)[:4]
            if not (pid.isdigit() and ticks.isdigit() and numbering == str(process_numbering()).encode()):
                return None
            if os.fsdecode(where) != str(directory.resolve()):
                return None
            return Owner(int(pid), int(ticks), process_numbering(), boot_id())
    return None


def _ancestors() -> set[int]:
    found = set()
    pid = os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
            pid = int(text[text.rindex(")") + 2 :].split()[1])
        except (OSError, ValueError):
            break
    return found
