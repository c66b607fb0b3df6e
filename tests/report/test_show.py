from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from harness.errors import UsageError
from harness.record.rundir import Folder, RunDirectory
from harness.record.summary import ExperimentSummary, InvariantSummary, ValiditySummary
from harness.report.show import show


def printed(path: Path, as_json: bool = False, terminal: bool = False) -> str:
    console = Console(file=io.StringIO(), width=200, force_terminal=terminal)
    show(path, json=as_json, console=console)
    return console.file.getvalue()


def line_of(text: str, title: str) -> list[str]:
    line = next(line for line in text.splitlines() if title in line)
    return [cell.strip() for cell in line.replace("┃", "│").split("│") if cell.strip()]


def test_experiment_shows_its_modes_side_by_side(experiment: RunDirectory) -> None:
    text = printed(experiment.path)
    assert "none (control)" in text
    # Written as runs 1 to 3 in the order duplication, statelet, none with as many packets lost.
    assert line_of(text, "packets lost")[-3:] == ["3", "2", "1"]
    assert str(experiment.path) in text
    assert "\x1b" not in text


def test_run_shows_ledger_invariants_and_reasons(tmp_path: Path, run) -> None:
    folder = tmp_path / "01-statelet"
    folder.mkdir()
    summary = run(
        validity=ValiditySummary(verdict="INVALID", reasons=("steal: 20 %, limit 10 %",)),
        invariants=(InvariantSummary(name="state equals the reference", verdict="unknown", detail="not [compared]"),),
    )
    Folder(folder).write_json("summary.json", summary)
    text = printed(folder)
    assert line_of(text, "pool [full]")[-3:] == ["2", "0", "2"]
    assert line_of(text, "intended")[0]
    assert line_of(text, "not [compared]")[1] == "unknown"
    assert "01-statelet: INVALID" in text
    assert "steal: 20 %, limit 10 %" in text


def test_json_is_one_object_with_everything(experiment: RunDirectory, tmp_path: Path) -> None:
    data = json.loads(printed(experiment.path, as_json=True))
    assert data["experiment"]["completed"] is True
    assert [r["window"]["lost_packets"] for r in data["runs"]] == [1, 2, 3]
    single = json.loads(printed(experiment.path / "02-statelet", as_json=True))
    assert (single["experiment"], single["runs"][0]["mode"]) == (None, "statelet")


def test_terminal_output_is_coloured(experiment: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[" in printed(experiment.path, terminal=True)


def test_experiment_cut_off_shows_the_runs_it_finished(experiment: RunDirectory) -> None:
    (experiment.path / "summary.json").unlink()
    (experiment.path / "03-none" / "summary.json").unlink()
    text = printed(experiment.path)
    assert "cut off" in text
    assert line_of(text, "packets lost")[-2:] == ["2", "1"]


def test_experiment_not_completed_says_why(experiment: RunDirectory) -> None:
    old = ExperimentSummary.model_validate_json((experiment.path / "summary.json").read_bytes())
    changed = old.model_copy(update={"completed": False, "reason": "interrupted"})
    experiment.write_json("summary.json", changed)
    assert "not completed: interrupted" in printed(experiment.path)


def test_no_results_is_a_usage_error(tmp_path: Path, experiment: RunDirectory) -> None:
    with pytest.raises(UsageError, match="not a directory"):
        show(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no results"):
        show(tmp_path / "empty")
    (experiment.path / "01-duplication" / "summary.json").write_text("{")
    with pytest.raises(UsageError, match="01-duplication"):
        show(experiment.path)
