"""`harness run` when something is wrong: the machine, the migration, the profile, or the user changes their mind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.provision import kernel
from harness.testbed.topology import NODES
from tests.soak.look import command_line, program_name
from tests.system.conftest import Cli, Machine, Running, changes, phases_of, wait_until

pytestmark = [
    pytest.mark.timeout(240),  # the first test may wait for the compiler
]

SHORT = {
    "load__rate": "8M",
    "load__flows": 16,
    "timing__warm_up": "200ms",
    "timing__window": "1s",
    "timing__migrate_at": "100ms",
    "timing__load_until": "500ms",
    "migration__filler": "64KiB",
}
LONG = {**SHORT, "timing__window": "60s", "timing__load_until": "60s", "timing__migrate_at": "50s"}
STATELET = {"migration__modes": '["statelet"]'}
CONTROL = {"migration__modes": '["none"]', "dataplane__verify": "false"}
HEX_SECRET = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{32})(?![0-9a-f])")


def only(paths: set[Path]) -> Path:
    (path,) = paths
    return path


def run_id_of(directory: Path) -> str:
    return directory.name.rpartition("-")[2]


def namespaces_of(machine: Machine, run_id: str) -> set[str]:
    return {name for name in machine.namespaces if name.startswith(f"{run_id}-")}


def first_run(directory: Path) -> Path:
    (folder,) = directory.glob("01-*")
    return folder


def summary_of(directory: Path) -> Any:
    return json.loads((first_run(directory) / "summary.json").read_text())


# -- a testbed that cannot carry the load -----------------------------------------------------------------------------


def test_a_load_no_machine_holds_is_invalid_and_every_loss_is_named(cli: Cli, untouched: Machine) -> None:
    before = cli.directories()
    overload = {**SHORT, **CONTROL, "load__rate": "4G", "uplink__rate": "10Gbit", "timing__load_until": "300ms"}
    overload["timing__wait_for_replies"] = "100ms"  # what comes later is unread, and no fault of the mechanism
    done = cli(*cli.run_arguments(**overload))
    summary = summary_of(only(cli.directories() - before))
    assert summary["validity"]["verdict"] == "INVALID", summary["validity"]["reasons"]
    assert summary["total"]["lost_packets"] > 0, "the load was no overload"
    ledger = summary["ledger"]
    rows = {row["name"]: row["echo_packets"] + row["server_packets"] for row in ledger["rows"]}
    assert sum(rows.values()) == ledger["echo_intended_packets"] + ledger["server_intended_packets"]
    assert rows["unexplained"] == 0
    assert done.returncode == 0, done.stderr
    assert "INVALID" in done.stdout
    assert summary["validity"]["reasons"][0] in done.stdout


# -- a migration that cannot be carried out ---------------------------------------------------------------------------


def assert_the_source_carried_on(directory: Path) -> dict[str, Any]:
    """The run FAILED by an abort, and the traffic never noticed; returns its summary."""
    summary = summary_of(directory)
    assert summary["validity"]["verdict"] == "FAILED"
    assert summary["migration"]["outcome"] == "aborted"
    migration = json.loads((first_run(directory) / "migration.json").read_text())
    assert migration["switchover"] is None
    assert migration["lost"] == []
    phases = [(phase["node"], phase["phase"]) for phase in migration["phases"]]
    assert phases[-1] == ("controller", "aborted")
    assert [phase for node, phase in phases if node == "source"][-1] == "live"
    with (
        np.load(first_run(directory) / "loadgen.npz") as loadgen,
        np.load(first_run(directory) / "echoserver.npz") as e,
    ):
        assert (loadgen["received_ns"] > 0).all(), f"packets were lost: {summary['ledger']['rows']}"
        assert (loadgen["server_received_ns"] > 0).all()
        assert (loadgen["intended_ns"] > migration["ended_ns"]).any(), "no load after the abort"
        assert not e["flow_mapping_changes"].any()
        sent, received = loadgen["sent_ns"].size, loadgen["received_ns"].size + loadgen["server_received_ns"].size
        ports = set(e["flow_external_port"].tolist())
    with np.load(first_run(directory) / "source.state.npz") as state:
        assert (state["host"][:, 1].sum(), state["host"][:, 3].sum()) == (sent, received)
        assert set((state["external"][:, 0] & np.uint64(0xFFFF)).tolist()) == ports
    assert {invariant["verdict"] for invariant in summary["invariants"]} == {"holds"}
    assert "state equals the reference" in {invariant["name"] for invariant in summary["invariants"]}
    result: dict[str, Any] = summary
    return result


def test_statelets_that_pile_up_abort_the_migration_without_loss(cli: Cli, untouched: Machine) -> None:
    """64 duplicates may wait, and with a tick of 10 ms the load comes in bursts of 73 requests."""
    before = cli.directories()
    overflow = {
        **SHORT,
        "load__rate": "60M",
        "dataplane__tick": "10ms",
        "migration__modes": '["duplication"]',
        "migration__st_q_out_packets": 64,
        "migration__snapshot_rate": "1Mbit",
        "timing__window": "2s",
        "timing__load_until": "1500ms",
    }
    done = cli(*cli.run_arguments(**overflow))
    assert done.returncode == 1, done.stdout
    summary = assert_the_source_carried_on(only(cli.directories() - before))
    assert "st_q_out ran over" in summary["migration"]["reason"]
    assert "migration aborted: source: st_q_out ran over" in done.stdout


def test_a_destination_that_hangs_is_given_up_without_loss(cli: Cli, untouched: Machine) -> None:
    before = cli.directories()
    slow = {
        **SHORT,
        **STATELET,
        "migration__snapshot_rate": "1Mbit",
        "migration__deadlines__snapshot": "1s",
        "migration__deadlines__connect": "1s",
        "timing__window": "4s",
        "timing__load_until": "3500ms",
    }
    with cli.start(*cli.run_arguments(**slow)) as running:
        directory = cli.wait_for_phase(running, before, "destination.receive_snapshot")
        destination = process_in(cli, f"{run_id_of(directory)}-destination")
        os.kill(destination, signal.SIGSTOP)
        wait_until(lambda: "controller.aborted" in phases_of(directory), "the migration is given up")
        os.kill(destination, signal.SIGCONT)
        assert running.end() == 1, running.output
    summary = assert_the_source_carried_on(directory)
    assert "the destination does not confirm the abort" in summary["migration"]["reason"]
    assert summary["migration"]["duration_ns"] is None


def process_in(cli: Cli, namespace: str) -> int:
    """The one process of ours that lives in a namespace."""
    identity = kernel.namespace_identity(namespace)
    assert identity is not None

    def lives_there(pid: int) -> bool:
        status = Path(f"/proc/{pid}/ns/net").stat()
        return (status.st_dev, status.st_ino) == tuple(identity)

    (found,) = [pid for pid in cli.processes() if lives_there(pid)]
    return found


# -- the user ends it -------------------------------------------------------------------------------------------------


def start_and_wait_for_load(cli: Cli, running: Running, before: set[Path]) -> Path:
    directory = cli.wait_for_phase(running, before, "window")
    programs = [program_name(pid) for pid in cli.processes()]
    assert (programs.count("generator_proce"), programs.count("echoserver_proc")) == (1, 1)
    assert programs.count("vei") >= 2
    return directory


def test_sigint_ends_a_run_and_a_second_run_waits_its_turn(cli: Cli, untouched: Machine) -> None:
    before = cli.directories()
    with cli.start(*cli.run_arguments(**LONG, **STATELET)) as running:
        directory = start_and_wait_for_load(cli, running, before)
        run_id = run_id_of(directory)
        during = cli.machine()
        assert namespaces_of(during, run_id) == {f"{run_id}-{node}" for node in NODES}

        second = cli(*cli.run_arguments(**SHORT, **CONTROL))
        assert second.returncode == 4
        (message,) = second.stderr.splitlines()
        assert f"run {run_id}, process {running.popen.pid}" in message
        assert changes(during, cli.machine()) == {}, "the second run changed something"
        assert "nothing to remove" in cli("clean").stdout, "clean took the living run's testbed"
        assert changes(during, cli.machine()) == {}

        for pid in cli.processes():
            environment = Path(f"/proc/{pid}/environ").read_bytes().decode()
            assert not HEX_SECRET.search(command_line(pid) + environment), "a secret is visible to every user"

        assert running.end(signal.SIGINT) == 130
        assert running.output.splitlines()[-1].startswith("harness: error: interrupted")
    assert changes(untouched, cli.machine()) == {}

    shown = cli("show", directory)
    assert shown.returncode == 0, shown.stderr
    assert "experiment not completed: interrupted" in shown.stdout
    assert "INVALID" in shown.stdout
    assert "interrupted by SIGINT" in shown.stdout
    log = (first_run(directory) / "events.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["phase"] == "failed"

    third = cli(*cli.run_arguments(**SHORT, **CONTROL), "--keep")
    assert third.returncode == 0, third.stdout + third.stderr
    kept = cli.machine()
    kept_id = only({path for path in cli.directories() if run_id_of(path) in " ".join(kept.namespaces)})
    assert namespaces_of(kept, run_id_of(kept_id)) == {f"{run_id_of(kept_id)}-{node}" for node in NODES}
    assert kept.processes == ()
    cleaned = cli("clean", "--json")
    assert cleaned.returncode == 0, cleaned.stderr
    removed = json.loads(cleaned.stdout)["removed"]
    assert {item["run_id"] for item in removed} == {run_id_of(kept_id)}
    names = {item["name"] for item in removed if item["kind"] == "namespace"}
    assert names == namespaces_of(kept, run_id_of(kept_id))
    assert changes(untouched, cli.machine()) == {}
    assert "nothing to remove" in cli("clean").stdout


def test_sigterm_ends_a_run_and_impatience_does_not_cut_the_tear_down_short(cli: Cli, untouched: Machine) -> None:
    before = cli.directories()
    with cli.start(*cli.run_arguments(**LONG, **CONTROL)) as running:
        directory = start_and_wait_for_load(cli, running, before)
        running.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: "failed" in phases_of(directory) or running.popen.poll() is not None, "the end has begun")
        assert running.end(signal.SIGINT) == 130, running.output
    assert "interrupted by SIGTERM" in cli("show", directory).stdout


def test_what_a_killed_run_leaves_is_cleaned(cli: Cli, untouched: Machine, foreign_namespace: str) -> None:
    before = cli.directories()
    with cli.start(*cli.run_arguments(**LONG, **STATELET)) as running:
        directory = start_and_wait_for_load(cli, running, before)
        assert running.end(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: not cli.processes(), "the processes notice that the harness is gone")
    left = cli.machine()
    assert namespaces_of(left, run_id_of(directory)) == {f"{run_id_of(directory)}-{node}" for node in NODES}
    assert left.state == (run_id_of(directory),)
    cleaned = cli("clean")
    assert cleaned.returncode == 0, cleaned.stderr
    for node in NODES:
        assert f"removed namespace {run_id_of(directory)}-{node} of run {run_id_of(directory)}" in cleaned.stdout
    assert foreign_namespace not in cleaned.stdout
    events = (first_run(directory) / "events.jsonl").read_text()
    assert [json.loads(line)["phase"] for line in events.splitlines()] == ["boot", "warm_up", "window"]
    assert {"manifest.json", "profile.toml", "effective.json"} <= {path.name for path in directory.iterdir()}


# -- nothing is created -----------------------------------------------------------------------------------------------


@pytest.fixture
def nothing_created(cli: Cli, untouched: Machine) -> Any:
    """Not even results, or the state directory of the first run."""
    directories, state = cli.directories(), cli.state.exists()
    yield
    assert (cli.directories(), cli.state.exists()) == (directories, state)


BAD = {
    "key": ("[load]\nrat = '20M'\n", "load.rat: unknown key; did you mean load.rate?"),
    "table": ("[laod]\nrate = '20M'\n", "laod: unknown key; did you mean load?"),
    "unit": ("[load]\nrate = '20Mega'\n", "load.rate: '20Mega' has the unknown unit 'Mega'"),
    "negative": ("[load]\nrate = '-20M'\n", "load.rate: '-20M'"),
    "image": ("[vnf]\nimage = 'nta'\n", "vnf.image: unknown image 'nta'; did you mean nat?"),
    "mode": ("[migration]\nmodes = ['statelets']\n", "migration.modes[0]: unknown mode 'statelets'; did you mean"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_profile_is_one_line(cli: Cli, nothing_created: None, tmp_path: Path, name: str) -> None:
    text, message = BAD[name]
    profile = tmp_path / "bad.toml"
    profile.write_text(text)
    done = cli("run", profile, "--results", cli.results, "--calibration", "off")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"harness: error: {profile}: {message}"), line


def test_every_mistake_of_a_profile_has_its_line(cli: Cli, nothing_created: None, tmp_path: Path) -> None:
    profile = tmp_path / "bad.toml"
    profile.write_text("[load]\nrat = '20M'\nflows = -1\n[vnf]\nimage = 'nta'\n[migration]\nmodes = ['statelets']\n")
    done = cli("run", profile, "--set", "timing.window=4")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 5
    assert sum("--set: timing.window" in line for line in done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("dropped", "named"), [("-net_admin", "CAP_NET_ADMIN"), ("-all", "CAP_SYS_ADMIN")])
def test_a_missing_privilege_is_named(cli: Cli, nothing_created: None, dropped: str, named: str) -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv (util-linux) is not installed")
    prefix = [setpriv, f"--bounding-set={dropped}", "--inh-caps=-all", "--"]
    done = cli(*cli.run_arguments(**SHORT), prefix=prefix)
    assert done.returncode == 4
    (line,) = done.stderr.splitlines()
    assert named in line
    assert "run as root" in line
    # The plan needs no privilege.
    assert cli(*cli.run_arguments(**SHORT), "--dry-run", prefix=prefix).returncode == 0


def test_a_dry_run_prints_the_plan(cli: Cli, nothing_created: None) -> None:
    done = cli(*cli.run_arguments(**SHORT, **STATELET), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert re.search(r"offered load +8\.\d+ Mbit/s both directions together", done.stdout), done.stdout
    document = json.loads(cli(*cli.run_arguments(**SHORT, **STATELET), "--dry-run", "--json").stdout)
    assert [run["mode"] for run in document["plan"]["runs"]] == ["statelet"]
    assert document["profile"]["load"]["flows"] == 16


def test_check_tells_what_would_change(cli: Cli, nothing_created: None) -> None:
    done = cli(*cli.run_arguments(**SHORT), "--check", "--diff")
    assert done.returncode == 0, done.stderr
    assert "absent -> present" in done.stdout
    assert "RECAP" in done.stdout
    assert "changed" in done.stdout
