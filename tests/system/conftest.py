"""The program as a user starts it, on a machine of which everything that may change is looked at before and after."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.doctor.cache import ensure_warm
from harness.provision import kernel, messages
from harness.provision.capabilities import held_capabilities, missing_privileges
from harness.provision.connections.local import LocalConnection
from harness.provision.state_directory import STATE_VARIABLE
from tests.soak.look import command_line, processes_with

ROOT = Path(__file__).resolve().parents[2]
SMOKE = ROOT / "profiles" / "smoke.toml"
COMMAND_S = 100.0
START_S = 60.0
END_S = 40.0

BESIDE_OTHERS = frozenset(
    {
        "test_forward.py",
        "test_full_disk.py",
        "test_influx.py",
        "test_kill.py",
        "test_package_tasks.py",
        "test_provision.py",
        "test_provision_tasks.py",
        "test_remote.py",
        "test_rootless.py",
        "test_sweep.py",
        "test_sweep_hosts.py",
        "test_tunnel.py",
        "test_user_tasks.py",
        "test_vei_process.py",
    }
)
"""Modules in which nothing is said of times and losses on the links: they need no machine to themselves, and are marked
`beside_others`. What is not named here is measured on a machine that does nothing else."""

_CLONE_NEWNS = 0x00020000
_MS_PRIVATE, _MS_REC = 1 << 18, 1 << 14
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    assert all((here / name).is_file() for name in BESIDE_OTHERS), "a module that is not there"
    for item in items:
        if item.path.parent == here and item.path.name in BESIDE_OTHERS:
            item.add_marker(pytest.mark.beside_others)


def wait_until(reached: Callable[[], Any], what: str, deadline_s: float = END_S) -> Any:
    """Poll until `reached` returns something true, which is returned; fails with `what` at the deadline."""
    deadline = time.monotonic() + deadline_s
    while not (value := reached()):
        assert time.monotonic() < deadline, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.02)
    return value


@pytest.fixture(scope="session", autouse=True)
def own_namespace_names() -> None:
    """An empty /run/netns that only this process and its children see: names of others neither come nor go meanwhile.

    It changes the mounts of the calling thread for good; the rest of the machine does not notice.
    """
    if missing_privileges(held_capabilities()):
        return  # every test is skipped
    kernel.NETNS_DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
    directory = str(kernel.NETNS_DIRECTORY).encode()

    def done(result: int) -> None:
        assert result == 0, os.strerror(ctypes.get_errno())

    done(_libc.unshare(_CLONE_NEWNS))
    done(_libc.mount(b"none", b"/", None, _MS_PRIVATE | _MS_REC, None))
    # Names there are already would vanish with their owners, from under what is mounted over them. It may be no mount.
    _libc.umount2(directory, _MNT_DETACH)
    done(_libc.mount(b"names", directory, b"tmpfs", 0, None))
    kernel.prepare_netns_directory()


class Machine(NamedTuple):
    """Everything a run may change outside its results folder, but for the one sysctl that test_provision looks at."""

    namespaces: Mapping[str, kernel.NamespaceIdentity | None]
    mounts: tuple[str, ...]
    links: tuple[str, ...]
    processes: tuple[str, ...]
    state: tuple[str, ...]


def changes(before: Machine, after: Machine) -> dict[str, tuple[Any, Any]]:
    """What differs, by name."""
    pairs = zip(Machine._fields, before, after, strict=True)
    return {name: (old, new) for name, old, new in pairs if old != new}


def _namespace_names() -> list[str]:
    return sorted(entry.name for entry in kernel.NETNS_DIRECTORY.iterdir())


class Running:
    """A command that has been started; killed at the end of its block if it still runs."""

    def __init__(self, popen: subprocess.Popen[str], output: Path) -> None:
        self.popen = popen
        self._output = output

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(END_S)

    @property
    def output(self) -> str:
        return self._output.read_text()

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, if one is given, and wait; returns the exit status."""
        if number is not None:
            self.popen.send_signal(number)
        return self.popen.wait(END_S if number is not None else COMMAND_S)


class Cli:
    """`harness` with a state directory and a results folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.results = folder / "results"
        self._folder = folder
        self._started = 0
        self.environment = {**os.environ, STATE_VARIABLE: str(self.state)}

    def __call__(
        self, *arguments: str | Path, prefix: Sequence[str] = (), deadline_s: float = COMMAND_S
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            [*prefix, sys.executable, "-m", "harness", *map(str, arguments)],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=deadline_s,
        )

    def start(self, *arguments: str | Path, prefix: Sequence[str] = ()) -> Running:
        """Start one command; its output goes to a file."""
        self._started += 1
        output = self._folder / f"output-{self._started}"
        with output.open("w") as file:
            popen = subprocess.Popen(
                [*prefix, sys.executable, "-m", "harness", *map(str, arguments)],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )
        return Running(popen, output)

    def run_arguments(self, **overrides: object) -> list[str | Path]:
        """Arguments of `run` on the smoke profile, links uncalibrated; `load__rate="5M"` becomes --set load.rate=5M."""
        settings = [f"{name.replace('__', '.')}={value}" for name, value in overrides.items()]
        options = [word for setting in settings for word in ("--set", setting)]
        return ["run", SMOKE, "--results", self.results, "--calibration", "off", *options]

    def directories(self) -> set[Path]:
        """Run directories made so far."""
        return set(self.results.iterdir()) if self.results.is_dir() else set()

    def processes(self) -> list[int]:
        """Everything that was started by these commands and still runs."""
        return processes_with(STATE_VARIABLE, str(self.state))

    def machine(self) -> Machine:
        """The machine as it is now; an unused state directory counts as one that is not there."""
        directory = kernel.NETNS_DIRECTORY
        connection = LocalConnection()
        try:
            links = connection.netlink(None).dump(messages.links_dump())
        finally:
            connection.close()
        state = sorted(path.name for path in self.state.iterdir()) if self.state.is_dir() else []
        return Machine(
            {name: kernel.namespace_identity(name) for name in _namespace_names()},
            tuple(line for line in Path("/proc/self/mounts").read_text().splitlines() if f" {directory}/" in line),
            tuple(sorted(str(link.get_attr("IFLA_IFNAME")) for link in links)),
            tuple(f"{pid} {command_line(pid)}" for pid in self.processes()),
            tuple(name for name in state if name != "lock"),
        )

    def wait_for_phase(self, running: Running, directories_before: set[Path], phase: str) -> Path:
        """Until the first run of a started experiment has journalled `phase`; returns the experiment's directory."""

        def reached() -> Path | None:
            assert running.popen.poll() is None, f"ended before phase {phase}:\n{running.output}"
            new = self.directories() - directories_before
            return next((directory for directory in new if phase in phases_of(directory)), None)

        found: Path = wait_until(reached, f"phase {phase}", START_S)
        return found


def phases_of(directory: Path) -> list[str]:
    """Phases journalled so far by the first run of an experiment."""
    phases = []
    for log in sorted(directory.glob("01-*/events.jsonl")):
        phases += [json.loads(line)["phase"] for line in log.read_text().splitlines(keepends=True) if line[-1] == "\n"]
    return phases


@pytest.fixture(scope="session")
def warm() -> None:
    """Compiled code in the cache, so that no test waits for the compiler in the middle of a run."""
    ensure_warm(print)


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory, warm: None) -> Iterator[Cli]:
    """The command line of a module, which has to leave no process behind."""
    command = Cli(tmp_path_factory.mktemp("cli"))
    yield command
    remaining = command.processes()
    for pid in remaining:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not remaining


@pytest.fixture(scope="module")
def foreign_namespace() -> Iterator[str]:
    """A namespace of somebody else; no command may touch it."""
    name = f"foreign-{secrets.token_hex(4)}"
    connection = LocalConnection()
    identity = connection.create_namespace(name, lambda _identity: None)
    yield name
    assert kernel.namespace_identity(name) == identity, "the namespace of another owner was touched"
    assert connection.remove_namespace(name, identity)
    connection.close()


@pytest.fixture
def untouched(cli: Cli, foreign_namespace: str) -> Iterator[Machine]:
    """The machine before the test, which has to be the machine after it."""
    before = cli.machine()
    assert foreign_namespace in before.namespaces
    yield before
    assert changes(before, cli.machine()) == {}
