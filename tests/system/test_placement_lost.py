"""A run over several hosts that are lost in the course of it: one line, and everything is removed on every one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.conftest import Cli, phases_of, wait_until
from tests.system.placed import Result, arguments, carry_out, judge, nothing_left, three_hosts  # noqa: F401
from tests.system.ssh_hosts import SshHosts

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="other hosts need root"),
    pytest.mark.timeout(240),
]


def cut_during(
    cli: Cli, hosts: SshHosts, when: Callable[[Path], bool], cut: Callable[[], None], **further: str
) -> Result:
    """Start a run over two hosts and those of `further` nodes; `cut` as soon as `when` is true of its directory."""
    before = cli.directories()
    # A snapshot that takes its time.
    slow = {"migration__filler": "1MiB", "migration__snapshot_rate": "8Mbit", "timing__load_until": "2s"}
    asked = arguments(cli, hosts, {"source": "alpha", "destination": "beta", **further}, **slow)
    with cli.start(*asked, prefix=hosts.prefix) as running:

        def reached() -> Path | None:
            assert running.popen.poll() is None, f"ended before it was cut:\n{running.output}"
            return next((made for made in cli.directories() - before if when(made)), None)

        directory: Path = wait_until(reached, "the moment of the cut", 60.0)
        cut()
        exit_code = running.end()
        return Result(exit_code, running.output, directory)


def phase(name: str) -> Callable[[Path], bool]:
    return lambda directory: name in phases_of(directory)


FABRIC_ON_GAMMA = {"fabric": "gamma"}


@pytest.mark.parametrize(
    ("lost", "when", "further"),
    [
        ("beta", lambda directory: (directory / "manifest.json").exists(), {}),
        ("alpha", phase("boot"), {}),
        ("beta", phase("warm_up"), {}),
        ("gamma", phase("warm_up"), FABRIC_ON_GAMMA),
        ("alpha", phase("controller.snapshot"), FABRIC_ON_GAMMA),
        ("beta", phase("controller.switchover"), {}),
        ("gamma", phase("controller.commit"), FABRIC_ON_GAMMA),
        ("alpha", phase("controller.drain"), {}),
        ("beta", phase("collect"), {}),
    ],
    ids=[
        "provisioning",
        "boot",
        "load",
        "fabric in load",
        "snapshot",
        "redirect",
        "fabric in redirect",
        "drain",
        "recording",
    ],
)
def test_a_lost_connection_is_one_line_and_everything_is_removed_on_every_host(
    cli: Cli, hosts: SshHosts, lost: str, when: Callable[[Path], bool], further: dict[str, str]
) -> None:
    result = cut_during(cli, hosts, when, lambda: hosts.cut(lost), **further)
    assert result.exit_code == 1, result.output
    errors = [line for line in result.output.splitlines() if line.startswith("harness: error: ")]
    assert len(errors) == 1, result.output
    assert f"host {lost} (root@{hosts.address(lost)}:22): the connection was lost" in errors[0]
    assert "Traceback" not in result.output
    written = json.loads((result.directory / "summary.json").read_text())
    assert not written["completed"]
    assert lost in written["reason"]
    assert {run["verdict"] for run in written["runs"]} <= {"INVALID"}, "nothing is known of the migration"
    if written["runs"]:
        assert lost in result.summary["validity"]["reasons"][0]


def test_a_host_that_falls_silent_is_given_up_and_gives_up_itself(cli: Cli, hosts: SshHosts) -> None:
    try:
        result = cut_during(cli, hosts, phase("warm_up"), lambda: hosts.unplug("alpha"))
        assert result.exit_code == 1, result.output
        assert "host alpha" in result.output.splitlines()[-1]
        # It cannot be told, and finds out by itself.
        wait_until(lambda: not hosts.namespaces("alpha") and not hosts.processes("alpha"), "alpha is empty", 40.0)
    finally:
        hosts.plug("alpha")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_hosts_are_left_empty_when_the_controller_ends_early(
    cli: Cli, hosts: SshHosts, number: signal.Signals, code: int
) -> None:
    before = cli.directories()
    with cli.start(*arguments(cli, hosts, {"source": "alpha", "destination": "beta"}), prefix=hosts.prefix) as running:
        cli.wait_for_phase(running, before, "warm_up")
        assert hosts.namespaces("alpha")
        assert running.end(number) == code, running.output
    for name in ("alpha", "beta"):
        wait_until(lambda: not hosts.namespaces(name), f"no namespace of ours on {name}")  # noqa: B023
    if number == signal.SIGKILL:
        assert cli("clean", prefix=hosts.prefix).returncode == 0


def test_what_a_killed_agent_has_left_is_removed_by_the_next_run(cli: Cli, hosts: SshHosts) -> None:
    result = cut_during(cli, hosts, phase("warm_up"), lambda: hosts.kill("alpha", "harness.remote.agent"))
    assert result.exit_code == 1
    assert hosts.namespaces("alpha"), "nobody was left to remove them"
    judge(carry_out(cli, hosts, {"source": "alpha", "destination": "beta"}))
