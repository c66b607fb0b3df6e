"""Against the package manager of the machine; nothing is installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.errors import HarnessError, MachineError
from harness.provision.connections.local import LocalConnection
from harness.provision.ownership import Ownership
from harness.provision.task import Context
from harness.provision.tasks.package import Packages

pytestmark = pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="needs Debian or its kin")
NOWHERE = "no-such-package-anywhere"


@pytest.fixture
def context() -> Context:
    return Context(LocalConnection(), Ownership.preview("abcdefgh"))


def test_what_is_installed_is_nothing_to_do(context: Context) -> None:
    task = Packages("n", ["dpkg", "base-files"])
    assert task.diff(task.observe(context)) == []


def test_what_is_missing_is_what_the_machine_lacks_and_is_not_installed_unasked(context: Context) -> None:
    task = Packages("n", ["dpkg", NOWHERE])
    said = f"packages that are not installed: {NOWHERE}; apt-get install {NOWHERE}, or install = true"
    with pytest.raises(MachineError, match=said):
        task.diff(task.observe(context))


def test_what_cannot_be_installed_is_one_line(context: Context) -> None:
    task = Packages("n", ["dpkg", NOWHERE], install=True)
    changes = task.diff(task.observe(context))
    assert [change.subject for change in changes] == [NOWHERE]
    with pytest.raises(HarnessError, match=f"apt-get cannot install {NOWHERE}: ") as caught:
        task.apply(context, changes)
    assert "\n" not in str(caught.value)


def test_a_machine_without_packages_says_so(context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="no dpkg-query on this host"):
        Packages("n", ["dpkg"]).observe(context)
