"""Experiments that were cut off: what is told of them, however early that was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import cli
from harness.record.incomplete import is_experiment, unfinished_runs, why_incomplete
from harness.record.rundir import EFFECTIVE, EVENTS, SUMMARY, Folder, RunDirectory
from harness.record.summary import ExperimentSummary
from harness.record.sweep import read_results


def cut_off(tmp_path: Path, *phases: str) -> RunDirectory:
    """An experiment with one run that has journalled these phases and was killed in the middle of a line."""
    directory = RunDirectory.create(tmp_path, "smoke", "abcd1234")
    folder = directory.run(1, "statelet")
    with folder.events() as events:
        for phase in phases:
            events.record(phase, phase)
    with folder.file(EVENTS).open("ab") as file:
        file.write(b'{"monotonic_ns": 17, "wal')
    return directory


def test_the_last_whole_phase_is_told(tmp_path: Path) -> None:
    directory = cut_off(tmp_path, "boot", "window")
    (run,) = unfinished_runs(directory.path)
    assert (run.folder.name, run.phase) == ("01-statelet", "window")
    assert "01-statelet cut off in phase window" in why_incomplete(directory.path)


def test_one_that_was_cut_off_at_once_is_an_experiment_all_the_same(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path, "smoke", "abcd1234")
    assert is_experiment(directory.path)
    assert "between its runs" in why_incomplete(directory.path)
    assert not is_experiment(tmp_path)
    results = read_results(directory.path)
    assert results.results == ()
    assert results.incomplete


@pytest.mark.parametrize("completed", [True, False])
def test_a_summary_says_itself_whether_it_is_whole(tmp_path: Path, completed: bool) -> None:
    summary = ExperimentSummary(
        experiment_id="abcd1234",
        profile="smoke",
        started_utc="x",
        ended_utc="x",
        completed=completed,
        reason="" if completed else "interrupted",
    )
    Folder(tmp_path).write_json(SUMMARY, summary)
    assert why_incomplete(tmp_path) == ("" if completed else "not completed: interrupted")


@pytest.mark.parametrize("begun", [True, False])
def test_show_and_report_say_incomplete_and_do_not_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], begun: bool
) -> None:
    directory = cut_off(tmp_path, "boot") if begun else RunDirectory.create(tmp_path, "smoke", "abcd1234")
    if begun:
        profile = {"load": {"rate": "20M", "frame": "512B"}, "uplink": {"rate": "1Gbit"}, "vnf": {"image": "nat"}}
        plan = {"profile_digest": "0123456789abcdef", "profile": "smoke", "frame_bytes": 512}
        directory.write_json(EFFECTIVE, {"profile": profile, "plan": plan})
    assert cli.invoke(["show", str(directory.path)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("incomplete: ")
    assert ("01-statelet: incomplete, cut off in phase boot" in shown) == begun
    assert cli.invoke(["show", "--json", str(directory.path)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["incomplete"]
    assert [run["phase"] for run in document["unfinished"]] == (["boot"] if begun else [])
    assert cli.invoke(["report", str(directory.path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["incomplete"]
    assert len(report["problems"]) == begun
    assert "Incomplete: the experiment is without a summary" in Path(report["report"]).read_text()
