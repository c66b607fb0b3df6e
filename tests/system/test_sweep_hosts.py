"""A sweep over three hosts, each behind a real SSH server with a testbed of its own; one of them dies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.record.sweep import read_entries, read_results
from tests.system.conftest import ROOT, Cli, wait_until
from tests.system.ssh_hosts import NAMES, SshHosts, require_server

pytestmark = [pytest.mark.timeout(400)]

SWEEP = f"""
[sweep]
name = "far"
profile = "{ROOT / "profiles" / "smoke.toml"}"
modes = ["none", "statelet"]
repetitions = 4
retries = 0
[set]
"load.rate" = "5M"
"timing.warm_up" = "200ms"
"timing.window" = "1500ms"
"timing.migrate_at" = "300ms"
"timing.load_until" = "1s"
"migration.filler" = "64KiB"
"""
DEADLINE_S = 300.0


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHosts]:
    """With one home for all: the packet path is compiled once."""
    require_server()
    made = SshHosts(tmp_path_factory.mktemp("ssh"), home="home")
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_a_sweep_over_three_hosts_survives_the_loss_of_one(cli: Cli, hosts: SshHosts, tmp_path: Path) -> None:
    file = tmp_path / "far.toml"
    file.write_text(SWEEP)
    arguments = ["sweep", file, "--results", tmp_path / "results", "--inventory", hosts.inventory()]
    with cli.start(*arguments, "--hosts", "testbeds", prefix=hosts.prefix) as running:

        def on_gamma() -> bool:
            assert running.popen.poll() is None, running.output
            return any("harness.sweep.remote_run" in line for line in hosts.processes("gamma"))

        wait_until(on_gamma, "a run is under way on gamma", DEADLINE_S)
        hosts.stop("gamma")
        status = running.end()
        output = running.output
    assert "gamma: lost during the run" in output
    assert status in (0, 1), output  # three testbeds on one machine: a run may well be INVALID or late
    (sweep,) = (tmp_path / "results").iterdir()
    entries, complaints = read_entries(sweep)
    assert complaints == ()
    assert len([entry for entry in entries if not entry.interrupted]) == 2 * 4
    (lost,) = [entry for entry in entries if entry.interrupted]
    assert lost.host == "gamma"
    assert {entry.host for entry in entries if entry.key == lost.key} - {"gamma"}
    assert {entry.host for entry in entries} == set(NAMES)
    results = read_results(sweep)
    whole = [run for run in results.results if run.summary is not None]
    assert len(whole) == 2 * 4
    for run in whole:
        assert (run.folder / "series.npz").is_file()
        assert json.loads((run.folder.parent / "manifest.json").read_text())["kernel"]
    for name in ("alpha", "beta"):
        wait_until(lambda: not hosts.processes(name), f"no process of ours on {name}")  # noqa: B023
    again = cli(*arguments[:2], "--resume", sweep, *arguments[4:], "--hosts", "alpha", prefix=hosts.prefix)
    assert again.returncode == status
    assert len(read_entries(sweep)[0]) == len(entries)


def test_a_scheduler_that_is_not_there_is_one_line(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "far.toml"
    file.write_text(SWEEP)
    done = cli("sweep", file, "--results", tmp_path / "results", "--scheduler", "tcp://127.0.0.1:9")
    assert done.returncode == 4
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("harness: error")]
    assert "--scheduler tcp://127.0.0.1:9: cannot be reached" in line
