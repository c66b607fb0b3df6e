"""The command line of a sweep as far as nothing is created."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import invoke
from harness.sweep import command

ROOT = Path(__file__).resolve().parents[2]
SMOKE = str(ROOT / "profiles" / "sweeps" / "smoke.toml")


def test_dry_run_prints_the_runs_and_creates_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert invoke(["sweep", SMOKE, "--dry-run", "--json", "--set", "sweep.repetitions=2", "--scale", "0.5"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["runs"]) == 2 * (2 + 1)
    assert document["sweep"]["scale"] == 0.5
    assert [cell["nominal_load_bps"] for cell in document["sweep"]["cells"]] == [10**7, 2 * 10**7]
    assert list(tmp_path.iterdir()) == []


def test_dry_run_for_people(capsys):
    assert invoke(["sweep", SMOKE, "--dry-run"]) == 0
    assert "4 in 2 cells" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "load.rate=3G"], "cell profile=../smoke.toml: load.rate: 3Gbit is above uplink.rate"),
        (["--scale", "2"], "--scale 2: must be a number above 0 and at most 1"),
        (["--scale", "auto", "--dry-run"], "--bench FILE"),
        (["--resume", "nowhere"], "--resume nowhere: not the directory of a sweep"),
        (["--resume", "nowhere", "--results", "x"], "leave one of them out"),
        (["--scale", "auto", "--bench", SMOKE], "not a report of 'harness bench --output'"),
        (["--hosts", "a", "--scheduler", "tcp://127.0.0.1:9"], "either hosts of the inventory or somebody's scheduler"),
        (["--hosts", "a"], "hosts.toml: No such file"),
        (
            ["--scale", "auto", "--set", 'placement.source="alpha"'],
            "scale auto: not for cell load.rate=10M, whose source is on host 'alpha' (placement.source)",
        ),
        (
            ["--scheduler", "tcp://127.0.0.1:9", "--set", 'placement.source="alpha"'],
            "--scheduler: not for cell load.rate=10M, whose source is on host 'alpha' (placement.source)",
        ),
        (["--set", "sweep.repetition=2"], "sweep.repetition: unknown key; did you mean repetitions?"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert invoke(["sweep", SMOKE, *arguments]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert message in errors[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--hosts", "alpha"], ["--scheduler", "tcp://127.0.0.1:9"]])
def test_without_the_extra_hosts_are_refused_and_what_to_install_is_said(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert invoke(["sweep", SMOKE, *arguments]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("need Dask: pip install 'slim-harness[hosts]'")
    assert list(tmp_path.iterdir()) == []


def test_a_bench_report_gives_the_scale(capsys, tmp_path):
    figure = {"unit": "1/s", "count": 1, "better": "higher"}
    rate = {"median": 2_000.0, "minimum": 2_000.0, "maximum": 2_000.0, "values": [2_000.0]}
    machine = {
        "cpu_model": None,
        "cpus": 2,
        "cpus_usable": 2,
        "memory_bytes": None,
        "kernel": "x",
        "architecture": "x",
        "python": "3",
        "numba": None,
        "scheduler": "fifo",
        "steal_fraction": 0.0,
        "idle_fraction": 0.0,
        "load_average": [0.0, 0.0, 0.0],
    }
    report = {
        "schema": "slim-harness-bench",
        "schema_version": 1,
        "harness_version": "0",
        "git": None,
        "started_utc": "2026-01-01T00:00:00+00:00",
        "duration_s": 1.0,
        "quick": True,
        "machine": machine,
        "figures": {"round_trips_512B_per_s": {**figure, **rate}},
        "bounds": [],
        "notes": [],
    }
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(report))
    assert invoke(["sweep", SMOKE, "--dry-run", "--json", "--scale", "auto", "--bench", str(path)]) == 0
    # 20M at 512 bytes: 2,441 round trips/s; half of 2,000 is 0.4096 of it.
    assert json.loads(capsys.readouterr().out)["sweep"]["scale"] == 0.4


@pytest.mark.parametrize(("name", "runs"), [("slim_small", 112), ("slim", 2 * 2 * 18 * 27), ("smoke", 4)])
def test_the_sweeps_that_come_with_it_are_whole(capsys, name, runs):
    path = ROOT / "profiles" / "sweeps" / f"{name}.toml"
    assert invoke(["sweep", str(path), "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["runs"]) == runs
    if name == "slim_small":
        assert document["estimated_s"] < 45 * 60
