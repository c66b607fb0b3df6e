"""Debian packages that have to be there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from harness.errors import DeadlineExceeded, MachineError
from harness.provision.task import Change, Context, State, Task
from harness.provision.tasks.apt import END_S, AptGet

INSTALL_S = 600.0
_LOOK_S = 20.0
_INSTALLED = "i"
"""Second letter of dpkg's state; the first says whether it shall stay, be held or go."""


class Packages(Task):
    """Packages that dpkg knows as installed. Without `install` a missing one is a MachineError that says how to install
    it; with it apt-get does, and it stays installed.
    """

    name = "have packages"
    stays = True

    def __init__(self, node: str, packages: Sequence[str], install: bool = False) -> None:
        super().__init__(node)
        self.packages = tuple(packages)
        self.install = install
        self.deadline_s = 3 * _LOOK_S + (INSTALL_S + END_S if install else 0.0)
        self._apt = AptGet()

    @property
    def output(self) -> str:
        """What installing has printed."""
        return self._apt.output

    def wanted(self) -> State:
        return dict.fromkeys(self.packages, "installed")

    def observe(self, context: Context) -> State:
        listed = _dpkg_query("-W", "-f", "${db:Status-Abbrev}|${Package}\\n", "--", *self.packages)
        known = [line.partition("|") for line in listed.splitlines() if "|" in line]
        there = {name for state, _, name in known if state[1:2] == _INSTALLED}
        return {name: "installed" for name in self.packages if name in there}

    def diff(self, observed: State) -> list[Change]:
        changes = super().diff(observed)
        if changes and not self.install:
            names = " ".join(change.subject for change in changes)
            raise MachineError(f"packages that are not installed: {names}; apt-get install {names}, or install = true")
        return changes

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        self._apt.install([change.subject for change in changes], INSTALL_S)

    def cancel(self) -> None:
        self._apt.break_off()

    def undo(self, context: Context) -> None:
        """What others may use by now stays installed."""


def _dpkg_query(*words: str) -> str:
    if shutil.which("dpkg-query") is None:
        raise MachineError("no dpkg-query on this host: packages are those of Debian and its kin")
    try:
        return subprocess.run(
            ["dpkg-query", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_LOOK_S,
            env={**os.environ, "LC_ALL": "C"},
        ).stdout
    except subprocess.TimeoutExpired:
        raise DeadlineExceeded(f"dpkg-query: not done within {_LOOK_S:g} s") from None
