"""Against the package manager of the machine, which installs into a system of its own: a folder of the test."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import DeadlineExceeded, HarnessError, MachineError
from harness.provision.connections.local import LocalConnection
from harness.provision.ownership import Ownership
from harness.provision.task import Context
from harness.provision.tasks import package
from harness.provision.tasks.package import Packages
from tests.provision.tasks.package_system import PackageSystem, make_package
from tests.system.conftest import wait_until

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


def test_a_machine_without_packages_says_so(context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="no dpkg-query on this host"):
        Packages("n", ["dpkg"]).observe(context)


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageSystem]:
    made = PackageSystem(tmp_path / "system", tmp_path / "repository")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    yield made
    made.let_go()


def installed(context: Context, *names: str) -> list[str]:
    return list(Packages("n", names, install=True).observe(context))


def install(context: Context, *names: str) -> Packages:
    task = Packages("n", names, install=True)
    task.apply(context, task.diff(task.observe(context)))
    return task


def test_what_is_missing_is_installed_where_no_list_was_ever_fetched(context: Context, system: PackageSystem) -> None:
    make_package(system.repository, "one")
    task = install(context, "one")
    task.verify(context)
    assert (system.root / "usr/share/one").read_text() == "one\n"
    assert "Setting up one" in task.output
    task.undo(context)
    assert installed(context, "one") == ["one"]


def test_lists_that_are_too_old_are_renewed(context: Context, system: PackageSystem) -> None:
    make_package(system.repository, "one")
    install(context, "one")
    make_package(system.repository, "two", version="1")
    install(context, "two")
    make_package(system.repository, "three", version="1")
    subprocess.run(["apt-get", "-q", "update"], check=True, capture_output=True, timeout=60)
    (system.repository / "three_1.deb").unlink()  # as a registry that keeps the latest only
    make_package(system.repository, "three", version="2")
    install(context, "three")
    assert installed(context, "one", "two", "three") == ["one", "two", "three"]


def test_what_cannot_be_installed_is_one_line_and_says_why(context: Context, system: PackageSystem) -> None:
    said = f"^apt-get cannot install {NOWHERE}: Unable to locate package {NOWHERE}$"
    with pytest.raises(HarnessError, match=said):
        install(context, NOWHERE)
    make_package(system.repository, "bad", postinst="echo the disk is on fire >&2; exit 3")
    with pytest.raises(HarnessError, match=r"cannot install bad: .*dpkg.*bad.*subprocess returned error exit status 3"):
        install(context, "bad")
    assert installed(context, "bad") == []


def test_a_list_that_cannot_be_had_is_told(context: Context, system: PackageSystem) -> None:
    shutil.rmtree(system.repository)
    with pytest.raises(HarnessError, match=f"Unable to locate package {NOWHERE}; Failed to fetch copy:.*repository"):
        install(context, NOWHERE)


def test_what_is_held_is_installed(context: Context, system: PackageSystem) -> None:
    make_package(system.repository, "one")
    install(context, "one")
    subprocess.run(["dpkg", "--set-selections"], input=b"one hold\n", check=True, timeout=20)
    assert installed(context, "one") == ["one"]


@pytest.mark.parametrize("end", ["broken off", "too late"])
def test_dpkg_finishes_what_it_is_at_whatever_ends_it(
    context: Context, system: PackageSystem, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_package(system.repository, "slow", postinst=system.wait_for_leave)
    task = Packages("n", ["slow"], install=True)
    changes = task.diff(task.observe(context))
    errors: list[BaseException] = []

    def apply() -> None:
        try:
            task.apply(context, changes)
        except HarnessError as error:
            errors.append(error)

    if end == "too late":
        monkeypatch.setattr(package, "INSTALL_S", 3.0)
    worker = threading.Thread(target=apply)
    worker.start()
    system.await_arrival()
    if end == "broken off":
        task.cancel()
    worker.join(4.0)
    assert worker.is_alive()
    system.let_go()
    worker.join(20.0)
    (error,) = errors
    assert isinstance(error, DeadlineExceeded) == (end == "too late")
    assert installed(context, "slow") == ["slow"]


def test_dpkg_finishes_what_it_is_at_when_its_caller_is_killed(context: Context, system: PackageSystem) -> None:
    make_package(system.repository, "slow", postinst=system.wait_for_leave)
    program = f"""
from harness.provision.tasks.apt import AptGet
AptGet().install({json.dumps(["slow"])}, 60.0)
"""
    with subprocess.Popen([sys.executable, "-c", program], start_new_session=True) as caller:
        system.await_arrival()
        os.killpg(caller.pid, signal.SIGKILL)
    system.let_go()
    wait_until(lambda: installed(context, "slow") == ["slow"], "dpkg has finished")
