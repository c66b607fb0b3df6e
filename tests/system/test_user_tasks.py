"""[[task]]s of a profile on real hosts: done before the runs, told by host, undone afterwards, whatever the end is."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import tomli_w

from harness.profile.load import read_document
from harness.provision.connections.local import LocalConnection
from harness.provision.ownership import Ownership
from harness.provision.tasks.sysctl import read_sysctl
from harness.remote.agent import LEASE_S
from harness.remote.hosts import load_hosts
from harness.remote.session import RemoteHost
from harness.remote.ssh import SshConnection
from tests.soak.look import command_line
from tests.system.conftest import SMOKE, Cli, wait_until
from tests.system.ssh_hosts import CONTROLLER, NAMES, SshHosts, ssh_hosts  # noqa: F401

pytestmark = [pytest.mark.timeout(180)]
PARAMETER = "net.ipv4.ip_default_ttl"
"""Every namespace has its own."""
TTL = 77


@pytest.fixture(autouse=True)
def nothing_left(ssh_hosts: SshHosts) -> Iterator[None]:  # noqa: F811
    before = [ttl(ssh_hosts, name) for name in NAMES]
    yield
    for name in NAMES:
        wait_until(lambda: not ssh_hosts.processes(name), f"no process of ours on {name}")  # noqa: B023
        assert records(ssh_hosts, name) == []
    assert [ttl(ssh_hosts, name) for name in NAMES] == before


def in_namespace(netns: str, what: Callable[[], Any]) -> Any:
    local = LocalConnection()
    try:
        return local.run(netns, what)
    finally:
        local.close()


def ttl(hosts: SshHosts, name: str) -> str:
    return str(in_namespace(hosts.netns(name), lambda: read_sysctl(PARAMETER)))


def pids(hosts: SshHosts, name: str, words: str) -> list[int]:
    """Processes of a host whose command line has these words."""
    found = subprocess.run(["ip", "netns", "pids", hosts.netns(name)], capture_output=True, text=True, check=True)
    return [int(pid) for pid in found.stdout.split() if words in command_line(int(pid))]


def records(hosts: SshHosts, name: str) -> list[str]:
    """What is recorded as owned in the state directory of a host, which nobody else sees."""
    state = Path(f"/proc/{pids(hosts, name, 'sshd')[0]}/root/run/slim-harness")
    return [entry.name for entry in state.iterdir() if entry.name != "lock"] if state.is_dir() else []


def profile_with(folder: Path, *tasks: dict[str, Any]) -> Path:
    document = {**read_document(SMOKE), "task": list(tasks)}
    document["migration"] = {**document.get("migration", {}), "modes": ["statelet"]}
    path = folder / "with-tasks.toml"
    path.write_bytes(tomli_w.dumps(document).encode())
    return path


def run(cli: Cli, hosts: SshHosts, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    arguments = ["--results", cli.results, "--calibration", "off", "--inventory", hosts.inventory(), *options]
    return cli("run", profile, *arguments, prefix=hosts.prefix)


def on_every_host(folder: Path) -> tuple[dict[str, Any], ...]:
    written = str(folder / "written")
    return (
        {"name": "a parameter", "sysctl": {PARAMETER: TTL}, "hosts": ["testbeds", "source"], "tags": ["kernel"]},
        {"file": {"path": written, "content": "ours\n"}, "hosts": ["alpha"]},
        {"command": {"argv": ["cat", written]}, "hosts": ["localhost"]},
        {"package": {"names": ["base-files"]}, "hosts": ["beta"]},
        {"process": {"argv": ["sleep", "3979"]}, "hosts": ["gamma", "destination"]},
        {"command": {"argv": ["sh", "-c", f"sysctl -n {PARAMETER}"]}, "hosts": ["alpha", "source"], "when": "after"},
    )


def test_tasks_go_to_hosts_nodes_and_here_and_are_undone(
    cli: Cli,
    ssh_hosts: SshHosts,  # noqa: F811
    tmp_path: Path,
) -> None:
    profile = profile_with(tmp_path, *on_every_host(tmp_path))
    before = cli.directories()
    done = run(cli, ssh_hosts, profile, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    (directory,) = cli.directories() - before
    assert json.loads((directory / "tasks.json").read_text())["tasks"] == told["tasks"]
    results = [(task["kind"], task["on"], task["host"], task["result"]) for task in told["tasks"]]
    assert results == [
        ("sysctl", "alpha", "alpha", "changed"),
        ("sysctl", "beta", "beta", "changed"),
        ("sysctl", "gamma", "gamma", "changed"),
        ("sysctl", "source", "localhost", "changed"),
        ("file", "alpha", "alpha", "changed"),
        ("command", "localhost", "localhost", "changed"),
        ("package", "beta", "beta", "ok"),
        ("process", "gamma", "gamma", "changed"),
        ("process", "destination", "localhost", "changed"),
        ("command", "alpha", "alpha", "changed"),
        ("command", "source", "localhost", "changed"),
    ]
    assert told["tasks"][5]["output"] == "ours\n"
    assert [task["output"] for task in told["tasks"][-2:]] == [f"{TTL}\n"] * 2
    assert [run["verdict"] for run in told["summary"]["runs"]] == ["VALID"]
    assert not (tmp_path / "written").exists()
    lines = done.stderr.splitlines()
    assert any(line.startswith("alpha ") and "changed=2" in line for line in lines), done.stderr
    assert not cli.processes()


def test_a_check_looks_everywhere_and_changes_nothing(
    cli: Cli,
    ssh_hosts: SshHosts,  # noqa: F811
    tmp_path: Path,
) -> None:
    done = run(
        cli, ssh_hosts, profile_with(tmp_path, *on_every_host(tmp_path)), "--check", "--diff", "--tags", "kernel"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"{PARAMETER}: 64 -> {TTL}") == len(NAMES)
    assert "sleep" not in done.stdout  # it has no such tag
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize(
    ("bad", "said", "code"),
    [
        (
            {"command": {"argv": ["sh", "-c", "echo no luck; exit 9"]}},
            "on beta: host beta .*: sh: exit status 9 .no luck.",
            1,
        ),
        ({"command": {"argv": ["nosuchprogram"]}}, "on beta: host beta .*: no program 'nosuchprogram' on this host", 4),
        ({"sysctl": {"net.nosuch": 1}}, "on beta: host beta .*: kernel parameter net.nosuch: this kernel has none", 4),
    ],
)
def test_a_task_that_fails_is_one_line_and_nothing_is_started(
    cli: Cli,
    ssh_hosts: SshHosts,  # noqa: F811
    tmp_path: Path,
    bad: dict[str, Any],
    said: str,
    code: int,
) -> None:
    profile = profile_with(tmp_path, on_every_host(tmp_path)[0], {**bad, "name": "bad", "hosts": ["beta"]})
    before = cli.directories()
    done = run(cli, ssh_hosts, profile)
    assert done.returncode == code, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert re.search(f"^harness: error: task 'bad' {said}", line), line
    (directory,) = cli.directories() - before
    assert [entry.name for entry in directory.iterdir() if entry.is_dir()] == []
    results = [task["result"] for task in json.loads((directory / "tasks.json").read_text())["tasks"]]
    assert results == ["changed"] * 3 + ["not reached", "failed"]  # a node's task waits for its namespace


def meeting(folder: Path, then: str) -> dict[str, Any]:
    """A command that ends once all hosts are at it, and with 1 where it would wait for ever."""
    folder.mkdir()
    script = f"""cd {folder}; mktemp -p . XXXXXX
for _ in $(seq 400); do [ $(ls | wc -l) -ge {len(NAMES)} ] && {{ {then}; exit; }}; sleep 0.05; done; exit 1"""
    return {"name": "meeting", "command": {"argv": ["sh", "-c", script]}, "hosts": ["testbeds"]}


def test_the_hosts_of_a_task_are_at_it_side_by_side_and_all_that_fail_are_named(
    cli: Cli,
    ssh_hosts: SshHosts,  # noqa: F811
    tmp_path: Path,
) -> None:
    """They have no names of their own, but addresses."""
    said = f"ip -4 addr show lan0 | grep -q {ssh_hosts.address('beta')} || {{ echo no; exit 9; }}"
    written = {"file": {"path": str(tmp_path / "written"), "content": "ours\n"}, "hosts": ["beta"]}
    profile = profile_with(tmp_path, written, meeting(tmp_path / "x", said))
    before = cli.directories()
    done = run(cli, ssh_hosts, profile)
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert re.search(
        r"^harness: error: task 'meeting' on alpha: .*: sh: exit status 9 \(no\); on gamma: .* 9 \(no\)$", line
    ), line
    (directory,) = cli.directories() - before
    results = [(task["on"], task["result"]) for task in json.loads((directory / "tasks.json").read_text())["tasks"]]
    assert results == [("beta", "changed"), ("alpha", "failed"), ("beta", "changed"), ("gamma", "failed")]
    assert not (tmp_path / "written").exists()


def test_hosts_that_are_down_are_one_line_with_each_and_nothing_is_started(
    cli: Cli,
    ssh_hosts: SshHosts,  # noqa: F811
    tmp_path: Path,
) -> None:
    ssh_hosts.stop("beta")
    ssh_hosts.stop("gamma")
    try:
        done = run(cli, ssh_hosts, profile_with(tmp_path, on_every_host(tmp_path)[0]))
    finally:
        ssh_hosts.serve("beta")
        ssh_hosts.serve("gamma")
    assert done.returncode == 4
    (line,) = done.stderr.splitlines()
    assert re.search(r"error: host beta .* cannot be reached .*; host gamma .* cannot be reached", line), line


def test_nothing_is_done_while_another_run_is_active(
    cli: Cli,
    ssh_hosts: SshHosts,  # noqa: F811
    tmp_path: Path,
) -> None:
    profile = profile_with(tmp_path, {"file": {"path": str(tmp_path / "x"), "content": ""}})
    with Ownership.acquire("another0", cli.state):
        done = run(cli, ssh_hosts, profile)
    assert done.returncode == 4
    assert "another run is active on this machine: run another0" in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("place", ["localhost", "source", "alpha"])
def test_a_command_is_broken_off_by_an_interruption_and_everything_undone(
    cli: Cli,
    ssh_hosts: SshHosts,  # noqa: F811
    tmp_path: Path,
    place: str,
) -> None:
    tasks = (
        {"file": {"path": str(tmp_path / "x"), "content": ""}},
        {"command": {"argv": ["sleep", "3976"]}, "hosts": [place]},
    )
    arguments = ["--results", cli.results, "--calibration", "off", "--inventory", ssh_hosts.inventory()]
    with cli.start("run", profile_with(tmp_path, *tasks), *arguments, prefix=ssh_hosts.prefix) as running:
        wait_until(lambda: sleeping(3976), "the command runs")
        assert (tmp_path / "x").exists()
        started_s = time.monotonic()
        # The program itself, below `ip netns exec`, which has become it.
        assert running.end(signal.SIGINT) == 130
    assert time.monotonic() - started_s < 10
    assert "Traceback" not in running.output
    assert not (tmp_path / "x").exists()
    assert not sleeping(3976)
    assert not cli.processes()


def sleeping(seconds: int) -> bool:
    return any(p.info["cmdline"] == ["sleep", str(seconds)] for p in psutil.process_iter(["cmdline"]))


@pytest.fixture
def remote(ssh_hosts: SshHosts) -> Iterator[RemoteHost]:  # noqa: F811
    inventory = load_hosts(ssh_hosts.inventory())
    opened = in_namespace(ssh_hosts.netns(CONTROLLER), lambda: RemoteHost.open(inventory, inventory["alpha"]))
    yield opened
    opened.close()


def link(hosts: SshHosts, name: str, state: str) -> None:
    """The controller's end of the link to a host."""
    subprocess.run(["ip", "-n", hosts.netns(CONTROLLER), "link", "set", name, state], check=True, timeout=10)


def keep_busy(remote: RemoteHost, hosts: SshHosts, folder: Path) -> Path:
    """A parameter, a file and a program, all there."""
    path = folder / "x"
    path.write_text("before")
    tables: list[dict[str, Any]] = [
        {"sysctl": {PARAMETER: TTL}},
        {"file": {"path": str(path), "content": "ours"}},
        {"process": {"argv": ["sleep", "3978"]}},
    ]
    for number, table in enumerate(tables):
        remote.call("task", number=number, step="apply", table=table)
    assert (ttl(hosts, "alpha"), path.read_text()) == (str(TTL), "ours")
    assert pids(hosts, "alpha", "sleep 3978")
    assert records(hosts, "alpha")
    return path


@pytest.mark.parametrize(
    "cut", ["closed by the controller", "server of the session killed", "agent told to end", "network gone silently"]
)
def test_an_agent_undoes_what_it_owns_when_its_connection_ends(
    ssh_hosts: SshHosts,  # noqa: F811
    remote: RemoteHost,
    tmp_path: Path,
    cut: str,
) -> None:
    path = keep_busy(remote, ssh_hosts, tmp_path)
    if cut == "closed by the controller":
        remote.close()
    elif cut == "server of the session killed":
        for pid in pids(ssh_hosts, "alpha", "sshd: root"):
            os.kill(pid, signal.SIGKILL)
    elif cut == "agent told to end":
        for pid in pids(ssh_hosts, "alpha", "harness.remote.agent"):
            os.kill(pid, signal.SIGTERM)
    else:
        link(ssh_hosts, "alpha", "down")
    try:
        wait_until(lambda: not records(ssh_hosts, "alpha"), "the record of what it owned is gone", LEASE_S + 20)
    finally:
        link(ssh_hosts, "alpha", "up")
    assert (ttl(ssh_hosts, "alpha"), path.read_text()) == ("64", "before")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]
    assert not pids(ssh_hosts, "alpha", "sleep 3978")


def test_what_a_killed_agent_leaves_is_removed_by_clean_there(
    ssh_hosts: SshHosts,  # noqa: F811
    remote: RemoteHost,
    tmp_path: Path,
) -> None:
    path = keep_busy(remote, ssh_hosts, tmp_path)
    for pid in pids(ssh_hosts, "alpha", "harness.remote.agent"):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not pids(ssh_hosts, "alpha", "sleep 3978"), "its program ends with it")
    assert path.read_text() == "ours"
    inventory = load_hosts(ssh_hosts.inventory())
    way = inventory.way_to(inventory["alpha"])
    connection = in_namespace(ssh_hosts.netns(CONTROLLER), lambda: SshConnection.open(way))
    try:
        done = connection.run(f"{remote.environment.python} -I -m harness clean", 30.0)
    finally:
        connection.close()
    assert done.status == 0, done.last_line
    assert f"removed file {path} of run tasks-" in done.output.decode()
    assert f"removed sysctl {PARAMETER} of run tasks-" in done.output.decode()
    assert (ttl(ssh_hosts, "alpha"), path.read_text()) == ("64", "before")
