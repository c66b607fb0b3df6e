"""Debian packages that have to be there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from harness.errors import DeadlineExceeded, HarnessError, MachineError
from harness.provision.task import Change, Context, State, Task

INSTALL_S = 600.0
_LOOK_S = 20.0
_LOCK_S = 60
_INSTALLED = "ii "


class Packages(Task):
    """Packages that dpkg knows as installed. Without `install` a missing one is a MachineError that says how to install
    it; with it apt-get does, and it stays installed.
    """

    name = "have packages"

    def __init__(self, node: str, packages: Sequence[str], install: bool = False) -> None:
        super().__init__(node)
        self.packages = tuple(packages)
        self.install = install
        self.deadline_s = 2 * _LOOK_S + (INSTALL_S if install else 0.0)

    def wanted(self) -> State:
        return dict.fromkeys(self.packages, "installed")

    def observe(self, context: Context) -> State:
        listed = self._run(_LOOK_S, "dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Package}\\n", "--", *self.packages)
        there = {line[3:] for line in listed.stdout.splitlines() if line.startswith(_INSTALLED)}
        return {name: "installed" for name in self.packages if name in there}

    def diff(self, observed: State) -> list[Change]:
        changes = super().diff(observed)
        if changes and not self.install:
            names = " ".join(change.subject for change in changes)
            raise MachineError(f"packages that are not installed: {names}; apt-get install {names}, or install = true")
        return changes

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        names = [change.subject for change in changes]
        options = ("-y", "-q", "--no-install-recommends", "-o", f"DPkg::Lock::Timeout={_LOCK_S}")
        done = self._run(INSTALL_S, "apt-get", "install", *options, "--", *names)
        if done.returncode:
            said = [line for line in done.stdout.splitlines() if line.startswith("E: ")] or [f"{done.returncode}"]
            raise HarnessError(f"apt-get cannot install {' '.join(names)}: {said[0].removeprefix('E: ')[:200]}")

    def undo(self, context: Context) -> None:
        """What others may use by now stays installed."""

    def _run(self, deadline_s: float, *command: str) -> subprocess.CompletedProcess[str]:
        if shutil.which(command[0]) is None:
            raise MachineError(f"no {command[0]} on this host: packages are those of Debian and its kin")
        try:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=deadline_s,
                env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            )
        except subprocess.TimeoutExpired:
            raise DeadlineExceeded(f"{command[0]}: not done within {deadline_s:g} s") from None
