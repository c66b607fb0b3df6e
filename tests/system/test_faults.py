"""Faults in real runs: a dozen seeded schedules through the command, and two looked at from the raw records."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.soak.look import command_line
from tests.system.conftest import ROOT, Cli, changes, phases_of, wait_until

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.timeout(600),
]

SOAK = ROOT / "profiles" / "soak.toml"
FIRST_SEED, SCHEDULES = 1678, 12
"""With eleven kinds of faults, before the switchover and after it."""
SOAK_S = 400.0


def entries_of(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "soak.jsonl").read_text().splitlines()]


def arguments(folder: Path, count: int = SCHEDULES, seed: int = FIRST_SEED) -> list[str | Path]:
    return ["soak", SOAK, "--seed", str(seed), "--count", str(count), "--results", folder]


@pytest.fixture(scope="module")
def soaked(cli: Cli, foreign_namespace: str) -> tuple[Path, str]:
    """The folder of a soak, and what it printed."""
    before = cli.machine()
    folder = cli.results / "soak"
    done = cli(*arguments(folder), deadline_s=SOAK_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert changes(before, cli.machine()) == {}
    return folder, done.stdout


def test_no_schedule_breaks_a_promise(soaked: tuple[Path, str]) -> None:
    entries = entries_of(soaked[0])
    assert [entry["seed"] for entry in entries] == list(range(FIRST_SEED, FIRST_SEED + SCHEDULES))
    broken = [(e["seed"], p["name"], p["detail"]) for e in entries for p in e["promises"] if p["verdict"] == "broken"]
    assert not broken
    for entry in entries:
        names = {promise["name"] for promise in entry["promises"]}
        assert {"served without loss", "another attempt succeeds", "state never silently wrong", "in time"} <= names


def test_faults_really_happened(soaked: tuple[Path, str]) -> None:
    entries = entries_of(soaked[0])
    happened = {(f["target"], f["action"]) for e in entries for f in e["faults"] if f["begun_ns"] is not None}
    assert len(happened) >= 8, happened
    assert not [f for e in entries for f in e["faults"] if f["state"] == "failed"]
    again = [e for e in entries if len(e["attempts"]) > 1]
    assert again, "no schedule made a second attempt"
    for entry in again:
        assert [attempt["epoch"] for attempt in entry["attempts"]] == list(range(1, len(entry["attempts"]) + 1))
        assert entry["attempts"][-1]["moved"]


def test_a_soak_says_what_it_did_and_does_nothing_twice(cli: Cli, soaked: tuple[Path, str]) -> None:
    folder, output = soaked
    lines = [line for line in output.splitlines() if " seed " in line and line[0].isdigit()]
    assert len(lines) == SCHEDULES
    assert lines[2].startswith(f"3/{SCHEDULES} seed {FIRST_SEED + 2} ")
    assert "schedules by fault" in output
    before = (folder / "soak.jsonl").read_bytes()
    again = cli(*arguments(folder))
    assert again.returncode == 0
    assert "schedules by fault" in again.stdout
    assert (folder / "soak.jsonl").read_bytes() == before


def test_a_soak_refuses_the_results_of_another(cli: Cli, soaked: tuple[Path, str]) -> None:
    done = cli(*arguments(soaked[0], seed=3))
    assert done.returncode == 2
    assert "of another seed or profile" in done.stderr


def run_with(cli: Cli, tmp_path: Path, fault: str) -> tuple[int, Path, str]:
    profile = tmp_path / "faulty.toml"
    profile.write_text(f"{SOAK.read_text()}\n[[fault]]\n{fault}\n")
    done = cli("run", profile, "--results", tmp_path / "results", "--set", 'migration.modes=["statelet"]')
    (directory,) = (tmp_path / "results").iterdir()
    return done.returncode, directory / "01-statelet", done.stdout + done.stderr


def test_a_destination_that_dies_early_costs_no_packet(cli: Cli, tmp_path: Path) -> None:
    code, run, output = run_with(cli, tmp_path, 'phase = "snapshot"\ntarget = "destination"\naction = "kill"')
    assert code == 0, output
    with np.load(run / "loadgen.npz", allow_pickle=False) as records:
        assert len(records["sent_ns"]) > 1000
        assert (records["received_ns"] > 0).all()
    migration = json.loads((run / "migration.json").read_text())
    assert (migration["outcome"], migration["epoch"]) == ("completed", 2)
    assert [(earlier["outcome"], earlier["epoch"]) for earlier in migration["earlier"]] == [("aborted", 1)]
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    names = [event["phase"] for event in events]
    killed = names.index("fault.destination.kill")
    assert names.index("controller.snapshot") > killed > names.index("controller.announce"), "not at its phase"
    assert names[killed:].index("controller.aborted") < names[killed:].index("controller.completed")


def test_a_source_that_dies_is_a_failure_with_the_exact_loss(cli: Cli, tmp_path: Path) -> None:
    code, run, output = run_with(cli, tmp_path, 'phase = "announce"\ntarget = "source"\naction = "kill"')
    assert code == 1, output
    summary = json.loads((run / "summary.json").read_text())
    assert summary["validity"]["verdict"] == "FAILED"
    with np.load(run / "loadgen.npz", allow_pickle=False) as records:
        lost = int((records["received_ns"] == 0).sum()) + int((records["server_received_ns"] == 0).sum())
    assert lost > 500
    assert any(f"{lost} packets lost" in reason for reason in summary["validity"]["reasons"])
    rows = {row["name"]: row["echo_packets"] + row["server_packets"] for row in summary["ledger"]["rows"]}
    assert rows["instance_down"] == lost
    assert rows["unexplained"] == 0


def test_a_run_that_is_killed_leaves_no_process_stopped(cli: Cli, tmp_path: Path) -> None:
    profile = tmp_path / "stopping.toml"
    fault = '[[fault]]\nphase = "snapshot"\ntarget = "destination"\naction = "stop"\nfor = "60s"'
    profile.write_text(f"{SOAK.read_text()}\n{fault}\n")
    before = cli.directories()
    with cli.start("run", profile, "--results", cli.results) as running:
        cli.wait_for_phase(running, before, "fault.destination.stop")
        stopped = [pid for pid in cli.processes() if _state(pid) == "T"]
        assert len(stopped) == 1
        running.end(signal.SIGKILL)
        wait_until(lambda: not cli.processes(), f"the end of {[command_line(pid) for pid in stopped]}")
    assert cli("clean").returncode == 0
    assert phases_of(next(iter(cli.directories() - before)))[-1] != "done"


def _state(pid: int) -> str:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return text[text.rindex(")") + 2]
