"""A sweep on the real testbed: interrupted in the middle of a run, resumed, whole at the end."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from harness.record.sweep import read_results
from tests.system.conftest import SMOKE, Cli, Machine, wait_until

pytestmark = [
    pytest.mark.timeout(240),  # the compiler may have to run first
]

RUNS = 2
FILE = f"""
[sweep]
name = "two"
profile = "{SMOKE}"
modes = ["statelet"]
retries = 0
[set]
"load.rate" = "5M"
"load.flows" = 16
"timing.warm_up" = "300ms"
"timing.window" = "2s"
"timing.migrate_at" = "300ms"
"timing.load_until" = "600ms"
"""


def test_an_interrupted_sweep_is_resumed(cli: Cli, untouched: Machine, tmp_path: Path) -> None:
    file = tmp_path / "two.toml"
    file.write_text(FILE)
    with cli.start("sweep", file, "--results", cli.results, "--no-calibration") as running:

        def inside_the_first_run() -> Path | None:
            assert running.popen.poll() is None, f"ended before its first run:\n{running.output}"
            logs = cli.results.glob("*-two-*/runs/*/01-*/events.jsonl")
            return next((log for log in logs if '"phase": "window"' in log.read_text()), None)

        log = wait_until(inside_the_first_run, "first run", 60.0)
        assert running.end(signal.SIGINT) == 130
        assert "resume with: harness sweep" in running.output
    (directory,) = cli.directories()
    torn = log.parents[1]
    before = {path: path.read_bytes() for path in torn.rglob("*") if path.is_file()}

    other = cli("sweep", file, "--resume", directory, "--no-calibration", "--set", "load.flows=17")
    assert (other.returncode, len(other.stderr.splitlines())) == (2, 1)
    assert "another sweep" in other.stderr

    done = cli("sweep", file, "--resume", directory, "--no-calibration", "--json")
    document = json.loads(done.stdout)
    # On a busy machine a run may be INVALID or even FAILED (exit code 1): the sweep is whole all the same.
    assert done.returncode == document["exit_code"] in (0, 1), done.stderr
    assert document["complete"]
    assert cli.directories() == {directory}
    assert before == {path: path.read_bytes() for path in torn.rglob("*") if path.is_file()}

    found = read_results(directory).results
    assert [item.folder.parent.name == torn.name for item in found] == [True] + [False] * RUNS
    assert found[0].superseded
    assert sorted(item.mode for item in found[1:]) == ["none", "statelet"]
    for item in found[1:]:
        assert item.summary is not None
        assert item.summary.window is not None
        assert item.summary.window.intended_packets > 0
        effective = json.loads((item.folder.parent / "effective.json").read_text())
        assert effective["plan"]["profile_digest"] == item.cell.digest
        assert [run["load_seed"] for run in effective["plan"]["runs"]] == [1]
        assert (item.folder.parent / "experiment.log").stat().st_size > 0
        assert (item.folder / "loadgen.npz").exists() == (item.verdict != "VALID")
    assert cli.processes() == []
