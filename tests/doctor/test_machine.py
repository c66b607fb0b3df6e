from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from harness import cli, doctor
from harness.doctor import machine
from harness.doctor.finding import Finding
from harness.measure.host import HostLoad


def load(idle=1.0, steal=0.0):
    return HostLoad(wall_ns=10**9, steal_fraction=steal, idle_fraction=idle, processes={})


@pytest.mark.parametrize(
    ("count", "idle", "level"), [(1, 1.0, "degraded"), (2, 0.9, "ok"), (2, 0.5, "degraded"), (8, 0.25, "ok")]
)
def test_processors_need_to_be_two_and_free(count, idle, level):
    assert machine.assess_processors(count, load(idle))[0].level == level


def test_steal_is_told():
    assert [machine.assess_processors(2, load(steal=s))[1].level for s in (0.0, 0.05)] == ["ok", "degraded"]


@pytest.mark.parametrize(
    ("given", "level", "word"),
    [(16 << 20, "ok", "wait"), (8 << 20, "degraded", "stalls"), (208 << 10, "degraded", "half")],
)
def test_receive_buffer(given, level, word):
    finding = machine.assess_buffer(given, 16 << 20, 212_992)
    assert finding.level == level
    assert word in finding.consequence
    assert "208 KiB" in finding.observed


def test_memory_and_disk_are_needed():
    assert [machine.assess_memory(n, 100).level for n in (99, 100)] == ["missing", "ok"]
    assert [machine.assess_disk(n, 100, Path("x")).level for n in (99, 100)] == ["missing", "ok"]


def test_compiled_code():
    folder = Path("cache")
    assert machine.assess_cache(folder, 3, False).level == "ok"
    assert "--warm-cache" in machine.assess_cache(folder, 0, True).consequence
    assert machine.assess_cache(folder, 0, False).level == "missing"


def test_scheduler_and_leftover():
    assert [machine.assess_scheduler(p).level for p in (True, False)] == ["ok", "degraded"]
    assert machine.assess_leftover(0, False).level == "ok"
    assert "harness clean" in machine.assess_leftover(3, False).consequence
    assert "active" in machine.assess_leftover(0, True).observed


def test_receive_buffer_is_measured_without_the_kernels_doubling():
    assert machine.receive_buffer(64 << 10) == 64 << 10


def test_the_probe_leaves_the_calling_threads_policy_alone():
    before = os.sched_getscheduler(0)
    machine.fifo_permitted()
    assert os.sched_getscheduler(0) == before


def test_leftover_of_a_dead_run_and_an_active_one(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIM_HARNESS_STATE", str(tmp_path))
    assert machine.leftover() == (0, False)
    (tmp_path / "abcdefgh").mkdir()
    steps = [
        {"step": "intend", "number": 1, "kind": "namespace", "name": "abcdefgh-fabric", "identity": {}},
        {"step": "intend", "number": 2, "kind": "namespace", "name": "abcdefgh-source", "identity": {}},
        {"step": "gone", "number": 2},
    ]
    (tmp_path / "abcdefgh" / "objects.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    (tmp_path / "lock").touch()
    assert machine.leftover() == (1, False)
    with (tmp_path / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert machine.leftover() == (0, True)


def test_doctor_as_json_has_a_consequence_for_everything(monkeypatch, capsys):
    monkeypatch.setattr(machine, "CPU_SAMPLE_S", 0.05)
    started = time.monotonic()
    exit_code = cli.invoke(["doctor", "--json"])
    assert time.monotonic() - started < 30
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == exit_code
    findings = document["findings"]
    assert exit_code == (4 if any(finding["level"] == "missing" for finding in findings) else 0)
    assert len({finding["subject"] for finding in findings}) == len(findings)
    assert all(finding["observed"] and finding["consequence"] for finding in findings)
    subjects = " ".join(finding["subject"] for finding in findings)
    for subject in (
        "privileges",
        "netem",
        "processors",
        "steal",
        "clock",
        "receive buffer",
        "compiled code",
        "other runs",
    ):
        assert subject in subjects


def test_quiet_shows_only_what_is_not_ok(capsys):
    findings = [Finding("good", "ok", "x", "fine"), Finding("bad", "missing", "y", "no run")]
    doctor.print_findings(findings, quiet=True)
    output = capsys.readouterr().out
    assert "bad" in output
    assert "good" not in output
    doctor.print_findings(findings[:1], quiet=True)
    assert capsys.readouterr().out == ""
