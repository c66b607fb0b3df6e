"""Hosts reached by real SSH servers: what works, and one clear line for each thing that does not."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from harness.provision.connections.local import LocalConnection
from harness.remote.clock_offset import ClockCourse, measure_clock
from harness.remote.hosts import load_hosts
from harness.remote.session import RemoteHost
from tests.system.conftest import Cli, wait_until
from tests.system.ssh_hosts import CONTROLLER, NAMES, SshHosts, ssh_hosts  # noqa: F401

pytestmark = [pytest.mark.timeout(180)]


@pytest.fixture(autouse=True)
def nothing_left(ssh_hosts: SshHosts) -> Iterator[None]:  # noqa: F811
    yield
    ssh_hosts.write_known_hosts()
    for name in NAMES:
        wait_until(lambda: not ssh_hosts.processes(name), f"no process of ours on {name}")  # noqa: B023


def host(cli: Cli, hosts: SshHosts, command: str, *arguments: str, **changed: Any) -> subprocess.CompletedProcess[str]:
    return cli("host", command, *arguments, "--inventory", hosts.inventory(**changed), prefix=hosts.prefix)


def the_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 4, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("unusable: ")]
    assert "Traceback" not in done.stderr
    return line


def test_three_hosts_are_checked_side_by_side_and_the_second_time_from_the_cache(
    cli: Cli,
    ssh_hosts: SshHosts,  # noqa: F811
) -> None:
    first = host(cli, ssh_hosts, "check", "testbeds", "--json")
    assert first.returncode == 0, first.stdout + first.stderr
    found = json.loads(first.stdout)["hosts"]
    assert [(entry["host"], entry["environment"]) for entry in found] == [(name, "made") for name in NAMES]
    again = json.loads(host(cli, ssh_hosts, "check", "--json").stdout)["hosts"]
    assert [entry["environment"] for entry in again] == ["cached"] * 3
    for name in NAMES:
        home = ssh_hosts.folder / f"{name}.home"
        (environment,) = (home / ".cache/slim-harness/environments").iterdir()  # nothing half made beside it
        assert (environment / "complete").exists()


def test_facts_are_those_of_the_hosts_and_come_through_a_jump_host(
    cli: Cli,
    ssh_hosts: SshHosts,  # noqa: F811
) -> None:
    done = host(cli, ssh_hosts, "facts", "gamma", "--json", gamma={"jump": "alpha"})
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads(done.stdout)["hosts"]
    assert found["cpus"] >= 1
    assert found["features"]["veth"] is True
    log = (ssh_hosts.folder / "gamma.log").read_text()
    assert f"from {ssh_hosts.address('alpha')} port" in log


def test_a_clock_on_the_same_kernel_is_ours_within_the_bound(ssh_hosts: SshHosts) -> None:  # noqa: F811
    local = LocalConnection()
    inventory = load_hosts(ssh_hosts.inventory())
    try:
        # Its socket is in the controller's namespace.
        remote = local.run(ssh_hosts.netns(CONTROLLER), lambda: RemoteHost.open(inventory, inventory["alpha"]))
        with remote:
            course = ClockCourse(measure_clock(remote), measure_clock(remote))
            asked_ns = time.monotonic_ns()
            theirs_ns = remote.call("clock")["monotonic_ns"]
            answered_ns = time.monotonic_ns()
    finally:
        local.close()
    for estimate in (course.before, course.after):
        assert abs(estimate.offset_ns) <= estimate.error_bound_ns < 1_000_000_000
    assert abs(course.drift_ns) <= course.before.error_bound_ns + course.after.error_bound_ns
    found = course.to_ours(theirs_ns)
    assert asked_ns - found.error_bound_ns <= found.value_ns <= answered_ns + found.error_bound_ns


def test_another_machine_s_key_is_refused(cli: Cli, ssh_hosts: SshHosts) -> None:  # noqa: F811
    known = ssh_hosts.write_known_hosts({"beta": "alpha"})
    line = the_line(host(cli, ssh_hosts, "check", "beta"))
    assert f"host beta (root@{ssh_hosts.address('beta')}:22): its key " in line
    assert f"is not the one in {known}" in line


def test_an_unknown_key_is_refused_and_not_added(cli: Cli, ssh_hosts: SshHosts) -> None:  # noqa: F811
    known = ssh_hosts.write_known_hosts()
    known.write_text("".join(line for line in known.read_text().splitlines(keepends=True) if ".11 " not in line))
    before = known.read_text()
    assert f"its key is not in {known}" in the_line(host(cli, ssh_hosts, "check", "beta"))
    assert known.read_text() == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"user": "nobody"}, "does not let user nobody in"),
        ({"key": "/nonexistent"}, "key /nonexistent: no such file"),
        ({"address": "198.51.100.99", "connect_s": 1.0}, "cannot be reached"),
        ({"port": 23}, "cannot be reached"),
        ({"python": "/usr/bin/python9"}, "no Python: /usr/bin/python9: "),
        ({"python": "/bin/true"}, "/bin/true fails"),
        ({"known_hosts": "/nonexistent"}, "no host key can be verified"),
    ],
)
def test_what_is_wrong_with_a_host_is_one_line_and_the_others_are_used(
    cli: Cli,
    ssh_hosts: SshHosts,  # noqa: F811
    changed: dict[str, object],
    said: str,
) -> None:
    done = host(cli, ssh_hosts, "check", "alpha", "beta", beta=changed)
    assert said in the_line(done)
    assert "alpha" in done.stdout
    assert "beta" not in done.stdout


def test_a_host_that_is_down_is_one_line(cli: Cli, ssh_hosts: SshHosts) -> None:  # noqa: F811
    ssh_hosts.stop("gamma")
    try:
        assert "cannot be reached" in the_line(host(cli, ssh_hosts, "check", "alpha", "gamma"))
    finally:
        ssh_hosts.serve("gamma")


def test_a_host_that_is_down_behind_another_is_one_line(cli: Cli, ssh_hosts: SshHosts) -> None:  # noqa: F811
    ssh_hosts.stop("beta")
    try:
        done = host(cli, ssh_hosts, "check", "alpha", "beta", beta={"jump": "alpha"})
    finally:
        ssh_hosts.serve("beta")
    line = the_line(done)
    assert "channel" not in done.stderr  # the SSH library has words of its own
    assert "cannot be reached from alpha (Connect failed); is it up, are address and port right" in line


def test_an_older_version_of_the_code_there_is_refused(cli: Cli, ssh_hosts: SshHosts) -> None:  # noqa: F811
    assert host(cli, ssh_hosts, "check", "beta").returncode == 0
    (environment,) = (ssh_hosts.folder / "beta.home/.cache/slim-harness/environments").iterdir()
    (version,) = environment.glob("lib/python3*/site-packages/harness/__init__.py")
    text = version.read_text()
    version.write_text(text.replace('__version__ = "', '__version__ = "0.0-'))
    try:
        assert "runs version 0.0-" in the_line(host(cli, ssh_hosts, "check", "beta"))
    finally:
        version.write_text(text)


def test_a_full_disk_is_one_line_and_leaves_nothing_half_made(cli: Cli, ssh_hosts: SshHosts) -> None:  # noqa: F811
    home = ssh_hosts.folder / "small.home"
    home.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", str(home)], check=True)
    try:
        wrapper = home.parent / "python-on-a-small-disk"
        wrapper.write_text(f'#!/bin/sh\nHOME={home} exec {__import__("sys").executable} "$@"\n')
        wrapper.chmod(0o755)
        ssh_hosts.stop("beta")
        ssh_hosts.serve("beta")  # its mounts are of the moment it was started
        line = the_line(host(cli, ssh_hosts, "check", "beta", beta={"python": str(wrapper)}))
        assert "MiB free" in line
        assert not [path for path in home.rglob("*") if path.is_file()]
    finally:
        ssh_hosts.stop("beta")
        subprocess.run(["umount", str(home)], check=True)
        ssh_hosts.serve("beta")
