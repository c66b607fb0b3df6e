"""`harness run` of an ordinary user: a real one, without a capability, on the machine of the test."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.dataplane.jit import cache_directory
from harness.errors import MachineError
from harness.provision.kernel import ROOTLESS_VARIABLE
from harness.provision.machine_lock import MachineLock
from harness.provision.state_directory import STATE_VARIABLE
from tests.system.conftest import ROOT, Cli, Machine, wait_until

pytestmark = [
    pytest.mark.real_root("only root can become another user"),
    pytest.mark.timeout(240),  # the first test may wait for the compiler
]

SHORT = {
    "load__rate": "5M",
    "load__flows": 16,
    "timing__warm_up": "200ms",
    "timing__window": "1s",
    "timing__migrate_at": "100ms",
    "timing__load_until": "500ms",
    "migration__filler": "64KiB",
}
ALL_MODES = {"migration__modes": '["none", "statelet", "duplication"]'}
LONG = {**SHORT, "timing__window": "60s", "timing__load_until": "60s", "timing__migrate_at": "50s"}
# In a user namespace that permits no other within it, and without the capabilities that it gives.
FORBIDDEN = """
import ctypes, os, sys
from pathlib import Path
user, group = os.geteuid(), os.getegid()
assert ctypes.CDLL(None).unshare(0x10000000) == 0
for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
    Path("/proc/self", name).write_text(text)
Path("/proc/sys/user/max_user_namespaces").write_text("0")
os.execv(sys.argv[1], sys.argv[1:])
"""


class User:
    """An ordinary user with a home, a copy of the compiled code, and `harness`."""

    def __init__(self, folder: Path) -> None:
        self.number = 200_000 + os.getpid() % 100_000
        self.home = folder / "user"
        shutil.copytree(cache_directory(), self.home / "cache")
        for path in (self.home, *self.home.rglob("*")):
            os.chown(path, self.number, self.number)
        self.cli = Cli(self.home)
        self.cli.environment.update(HOME=str(self.home), NUMBA_CACHE_DIR=str(self.home / "cache"))
        for name in (ROOTLESS_VARIABLE, "XDG_RUNTIME_DIR"):
            self.cli.environment.pop(name, None)
        program = str(Path(__file__).with_name("ordinary_user.py"))
        self.prefix = [sys.executable, program, str(self.number), str(ROOT), str(self.home), "--"]

    def processes(self) -> list[str]:
        """Everything that runs for this user."""
        return [path.name for path in Path("/proc").iterdir() if path.name.isdecimal() and self._owns(path)]

    def _owns(self, path: Path) -> bool:
        try:
            return path.stat().st_uid == self.number
        except OSError:
            return False

    def left(self) -> list[str]:
        """Everything of a run outside the results."""
        state = sorted(path.name for path in self.cli.state.iterdir()) if self.cli.state.is_dir() else []
        elsewhere = [str(path) for path in Path("/tmp").glob("slim-harness*") if self._owns(path)]
        return [name for name in state if name != "lock"] + elsewhere


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, warm: None) -> Iterator[User]:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is not installed")
    created = User(tmp_path_factory.mktemp("rootless"))
    yield created
    remaining = created.processes()
    for pid in remaining:
        os.kill(int(pid), signal.SIGKILL)
    assert not remaining


@pytest.fixture
def nothing_left(user: User, untouched: Machine) -> Iterator[None]:
    """The machine of the others, and what the user has outside the results, are as before."""
    before = user.left()
    yield
    assert user.left() == before
    assert user.processes() == []


def summaries(directory: Path) -> list[Any]:
    return [json.loads(path.read_text()) for path in sorted(directory.glob("0*/summary.json"))]


def test_the_smoke_profile_runs_as_for_root(user: User, nothing_left: None) -> None:
    done = user.cli(*user.cli.run_arguments(**SHORT, **ALL_MODES), "--json", prefix=user.prefix)
    assert done.returncode == 0, done.stderr
    directory = Path(json.loads(done.stdout)["path"])
    runs = summaries(directory)
    assert {run["mode"] for run in runs} == {"none", "statelet", "duplication"}
    for run in runs:
        ledger = run["ledger"]
        rows = {row["name"]: row["echo_packets"] + row["server_packets"] for row in ledger["rows"]}
        assert sum(rows.values()) == ledger["echo_intended_packets"] + ledger["server_intended_packets"]
        assert rows["unexplained"] == 0
        assert run["migration"]["outcome"] == ("none" if run["mode"] == "none" else "completed")
        assert [invariant for invariant in run["invariants"] if invariant["verdict"] == "broken"] == []
        # Where the machine is busy, a run without SCHED_FIFO may be INVALID, which is for the machine to answer for.
        assert run["total"]["lost_packets"] == 0 or run["validity"]["verdict"] == "INVALID", run["validity"]
    built = json.loads((directory / "testbed.json").read_text())
    manifest = json.loads((directory / "manifest.json").read_text())
    assert built["rootless"]
    assert manifest["facts"]["rootless"]
    assert {path.stat().st_uid for path in (directory, *directory.rglob("*"))} == {user.number}


def test_an_interrupt_reaches_the_run_and_its_exit_code_the_user(user: User, nothing_left: None) -> None:
    before = user.cli.directories()
    with user.cli.start(*user.cli.run_arguments(**LONG), prefix=user.prefix) as running:
        user.cli.wait_for_phase(running, before, "window")
        assert running.end(signal.SIGINT) == 130
    assert "interrupted" in running.output


def test_of_a_killed_run_the_kernel_and_clean_remove_everything(user: User, untouched: Machine) -> None:
    before, left_before = user.cli.directories(), user.left()
    with user.cli.start(*user.cli.run_arguments(**LONG), prefix=user.prefix) as running:
        user.cli.wait_for_phase(running, before, "window")
        assert running.end(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: not user.processes(), "the processes of a killed harness end")
    assert user.left() != left_before
    assert user.cli("clean", prefix=user.prefix).returncode == 0
    assert user.left() == left_before


def test_a_kernel_that_forbids_it_is_one_line_that_names_the_setting(user: User, nothing_left: None) -> None:
    done = user.cli(*user.cli.run_arguments(**SHORT), prefix=[*user.prefix, sys.executable, "-c", FORBIDDEN])
    assert done.returncode == 4
    (line,) = done.stderr.splitlines()
    assert "CAP_NET_ADMIN" in line
    assert "run as root" in line
    assert "user.max_user_namespaces = 0" in line
    assert done.stdout == ""


def test_root_and_a_user_do_not_run_at_the_same_time(user: User, untouched: Machine) -> None:
    arguments = user.cli.run_arguments(**SHORT)
    environment = {name: value for name, value in user.cli.environment.items() if name != STATE_VARIABLE}
    chosen, user.cli.environment = user.cli.environment, environment
    try:
        held = MachineLock()
    except MachineError:
        held = None  # by a run of somebody else, which serves as well
    try:
        done = user.cli(*arguments, prefix=user.prefix)
    finally:
        user.cli.environment = chosen
        if held is not None:
            held.release()
    assert done.returncode == 4
    assert "another run is active on this machine" in done.stderr
    if held is not None:
        assert f"process {os.getpid()} of user" in done.stderr
    assert not Path(f"/tmp/slim-harness-{user.number}").exists()


def test_doctor_says_what_is_different(user: User, nothing_left: None) -> None:
    done = user.cli("doctor", "--json", prefix=user.prefix)
    assert done.returncode == 0, done.stdout
    findings = {finding["subject"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert "without root" in findings["privileges"]["observed"]
    assert findings["scheduler"]["level"] == "degraded"
    assert "real-time limit" in findings["scheduler"]["consequence"]
    assert {findings[name]["level"] for name in ("kernel: veth", "kernel: tbf", "packet sockets")} == {"ok"}
