"""A sweep over three hosts, each behind a real SSH server with a testbed of its own; one of them dies."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.record.sweep import read_entries, read_results
from tests.system.conftest import ROOT, Cli, Running, wait_until
from tests.system.ssh_hosts import NAMES, SshHosts, cubic_allowed, started

pytestmark = [pytest.mark.timeout(300)]

SWEEP = f"""
[sweep]
name = "far"
profile = "{ROOT / "profiles" / "smoke.toml"}"
modes = ["none", "statelet"]
repetitions = 3
retries = 0
[set]
"load.rate" = "5M"
"timing.warm_up" = "200ms"
"timing.window" = "1500ms"
"timing.migrate_at" = "300ms"
"timing.load_until" = "1s"
"migration.filler" = "64KiB"
"""
RUNS = 2 * 3
DEADLINE_S = 100.0


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, warm: None) -> Iterator[SshHosts]:
    with cubic_allowed(), started(SshHosts(tmp_path_factory.mktemp("ssh")), shares_code=True) as made:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "far.toml"
    path.write_text(SWEEP)
    return path


def under_way_on(hosts: SshHosts, name: str, running: Running) -> bool:
    assert running.popen.poll() is None, running.output
    return any("harness.sweep.remote_run" in line for line in hosts.processes(name))


def listening(prefix: tuple[str, ...]) -> set[str]:
    """Addresses on which anything of ours listens in a namespace."""
    done = subprocess.run([*prefix, "ss", "-Hltn"], capture_output=True, text=True, check=True)
    found = {line.split()[3].rpartition(":") for line in done.stdout.splitlines()}
    return {address for address, _, port in found if port != "22"}


def test_a_sweep_over_three_hosts_survives_the_loss_of_one_and_goes_on_anywhere(
    cli: Cli, hosts: SshHosts, file: Path, tmp_path: Path
) -> None:
    inventory = hosts.inventory()
    where = ["--inventory", inventory, "--hosts"]
    begin = ["sweep", file, "--results", tmp_path / "results", "--no-calibration"]
    local = cli(*begin, "--limit", "1")
    assert local.returncode in (0, 1), local.stdout + local.stderr
    (sweep,) = (tmp_path / "results").iterdir()
    resume = ["sweep", file, "--resume", sweep, "--no-calibration"]

    with cli.start(*resume, *where, "testbeds", "--limit", str(RUNS - 2), prefix=hosts.prefix) as running:
        wait_until(lambda: under_way_on(hosts, "gamma", running), "a run is under way on gamma", DEADLINE_S)
        assert listening(hosts.prefix) <= {hosts.controller_address, "127.0.0.1"}
        assert listening(hosts.inside("alpha")) <= {hosts.address("alpha"), "127.0.0.1"}
        hosts.stop("gamma")
        status = running.end()
        output = running.output
    assert status in (0, 1), output  # three testbeds on one machine: a run may well be INVALID or late
    assert "gamma: lost during the run" in output
    assert f"resume with: harness sweep {file} --resume {sweep} --hosts testbeds" in output
    entries, complaints = read_entries(sweep)
    assert complaints == ()
    (lost,) = [entry for entry in entries if entry.interrupted]
    assert lost.host == "gamma"
    (again,) = [entry for entry in entries if entry.key == lost.key and not entry.interrupted]
    assert again.host in ("alpha", "beta")
    assert again.attempt == lost.attempt + 1
    assert {entry.host for entry in entries} == {"", *NAMES}
    for name in ("alpha", "beta"):
        wait_until(lambda: not hosts.processes(name), f"no process of ours on {name}")  # noqa: B023

    last = cli(*resume)
    assert last.returncode in (0, 1), last.stdout + last.stderr
    entries, _ = read_entries(sweep)
    made = [entry for entry in entries if not entry.interrupted]
    assert len({entry.key for entry in made}) == len(made) == RUNS
    assert [entry.host for entry in made].count("") == 2
    for run in read_results(sweep).results:
        if not run.superseded:
            assert run.summary is not None
            assert (run.folder / "series.npz").is_file()
            assert json.loads((run.folder.parent / "manifest.json").read_text())["kernel"]
    report = cli("report", sweep, "--over-time", "none", "--json")
    assert report.returncode == 0, report.stdout + report.stderr
    table = json.loads(report.stdout)["hosts"]
    assert {line["host"]: line["lost"] for line in table["hosts"]}["gamma"] == 1
    assert sum(line["runs"] for line in table["hosts"]) == sum(entry.verdict != "INVALID" for entry in made)


@contextlib.contextmanager
def apart(hosts: SshHosts, name: str) -> Iterator[None]:
    """A host and the controller cannot reach each other; others of their network reach both."""
    ways = [(hosts.prefix, hosts.address(name)), (hosts.inside(name), hosts.controller_address)]
    for prefix, address in ways:
        subprocess.run([*prefix, "ip", "route", "add", "unreachable", address], check=True, timeout=20)
    try:
        yield
    finally:
        for prefix, address in ways:
            subprocess.run([*prefix, "ip", "route", "del", "unreachable", address], check=True, timeout=20)


def nothing_left(hosts: SshHosts) -> None:
    for name in NAMES:
        wait_until(lambda: not hosts.processes(name), f"no process of ours on {name}")  # noqa: B023


def test_a_host_behind_another_takes_part_through_ssh(cli: Cli, hosts: SshHosts, file: Path, tmp_path: Path) -> None:
    inventory = hosts.inventory(beta={"jump": "alpha"})
    arguments = ["sweep", file, "--results", tmp_path / "results", "--no-calibration", "--inventory", inventory]
    with (
        apart(hosts, "beta"),
        cli.start(*arguments, "--hosts", "beta", "--hosts", "alpha", "--limit", "4", prefix=hosts.prefix) as running,
    ):
        wait_until(lambda: under_way_on(hosts, "beta", running), "a run is under way on beta", DEADLINE_S)
        assert listening(hosts.prefix) <= {hosts.controller_address, "127.0.0.1"}
        assert listening(hosts.inside("beta")) == {"127.0.0.1"}
        status = running.end()
    assert status in (0, 1), running.output
    assert "left out" not in running.output
    (sweep,) = (tmp_path / "results").iterdir()
    entries, _ = read_entries(sweep)
    assert {entry.host for entry in entries} == {"alpha", "beta"}
    assert not any(entry.interrupted for entry in entries)
    for run in read_results(sweep).results:
        assert (run.folder / "series.npz").is_file()
    nothing_left(hosts)
    assert listening(hosts.inside("beta")) == set()


def test_a_host_whose_way_is_lost_is_lost_itself(cli: Cli, hosts: SshHosts, file: Path, tmp_path: Path) -> None:
    inventory = hosts.inventory(beta={"jump": "alpha"})
    arguments = ["sweep", file, "--results", tmp_path / "results", "--no-calibration", "--inventory", inventory]
    with (
        apart(hosts, "beta"),
        cli.start(*arguments, "--hosts", "beta", prefix=hosts.prefix) as running,
    ):
        wait_until(lambda: under_way_on(hosts, "beta", running), "a run is under way on beta", DEADLINE_S)
        hosts.stop("alpha")
        try:
            status = running.end()
        finally:
            hosts.serve("alpha")
    assert status == 1, running.output
    assert "Traceback" not in running.output
    assert "beta: lost during the run" in running.output
    nothing_left(hosts)


def test_a_server_that_forwards_nothing_is_one_line(cli: Cli, hosts: SshHosts, file: Path, tmp_path: Path) -> None:
    hosts.stop("gamma")
    hosts.serve("gamma", settings="AllowTcpForwarding no")
    arguments = ["sweep", file, "--results", tmp_path / "results", "--no-calibration", "--hosts", "gamma"]
    try:
        done = cli(*arguments, "--inventory", hosts.inventory(gamma={"jump": "alpha"}), prefix=hosts.prefix)
    finally:
        hosts.stop("gamma")
        hosts.serve("gamma")
    assert done.returncode == 4, done.stdout + done.stderr
    assert done.stderr.strip().splitlines()[-1] == "harness: error: no host can carry a testbed"
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("left out")]
    assert line.endswith("its SSH server forwards no connections; allow it there (AllowTcpForwarding yes)")
    nothing_left(hosts)


def test_hosts_that_cannot_be_used_are_one_line_each_and_none_left_is_exit_code_4(
    cli: Cli, hosts: SshHosts, file: Path, tmp_path: Path
) -> None:
    inventory = hosts.inventory(**{name: {"user": "nobody", "connect_s": 2.0} for name in NAMES})
    arguments = ["sweep", file, "--results", tmp_path / "results", "--inventory", inventory, "--hosts", "testbeds"]
    done = cli(*arguments, prefix=hosts.prefix)
    assert done.returncode == 4
    left_out = [line for line in done.stdout.splitlines() if line.startswith("left out: host ")]
    assert [line.split()[3] for line in left_out] == ["alpha", "beta", "gamma"]
    assert done.stderr.strip().splitlines()[-1] == "harness: error: no host can be used"


@contextlib.contextmanager
def dask(cli: Cli, words: list[str], folder: Path) -> Iterator[None]:
    """A program of Dask's, ended with the block."""
    with (folder / words[0]).open("w") as output:
        popen = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{words[0]}", *words[1:]],
            cwd=ROOT,
            env=cli.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
        finally:
            popen.terminate()
            popen.wait(30)


def test_a_scheduler_of_one_s_own(cli: Cli, file: Path, tmp_path: Path) -> None:
    """Dask's own programs, as a user starts them, on this machine."""
    arguments = ["sweep", file, "--results", tmp_path / "results", "--no-calibration", "--limit", "1", "--scheduler"]
    nobody = cli(*arguments, "tcp://127.0.0.1:9")
    assert nobody.returncode == 4
    assert "--scheduler tcp://127.0.0.1:9: cannot be reached" in nobody.stderr
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    worker = ["--host", "127.0.0.1", "--nthreads", "1", "--resources", "testbed=1", "--no-dashboard"]
    worker += ["--name", "mine", "--local-directory", str(tmp_path)]

    def told() -> re.Match[str] | None:
        return re.search(r"Scheduler at: *(tcp://127\.0\.0\.1:\d+)", (tmp_path / "scheduler").read_text())

    with dask(cli, scheduler, tmp_path):
        address = wait_until(told, "the scheduler tells its address", DEADLINE_S)[1]
        with dask(cli, ["worker", address, *worker], tmp_path):
            log = tmp_path / "worker"
            wait_until(lambda: "Registered" in log.read_text(), "the worker is registered", DEADLINE_S)
            done = cli(*arguments, address)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    directories = [path for path in (tmp_path / "results").iterdir() if (path / "runs.jsonl").exists()]
    ((entry,), _) = read_entries(directories[0])
    assert (entry.host, entry.interrupted) == ("mine", False)
