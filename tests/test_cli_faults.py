"""`harness run --faults`: a seed is a schedule that is shown before anything happens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import cli

SMOKE = Path(__file__).resolve().parents[1] / "profiles" / "smoke.toml"


def test_a_seed_adds_faults_to_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["run", str(SMOKE), "--dry-run"]) == 0
    assert "faults" not in capsys.readouterr().out
    assert cli.invoke(["run", str(SMOKE), "--faults", "seed=4", "--dry-run"]) == 0
    (shown,) = [text for text in capsys.readouterr().out.splitlines() if text.startswith("faults ")]
    assert "kill destination at snapshot + 14.4 ms; up to 2 attempts" in shown
    assert cli.invoke(["run", str(SMOKE), "--faults", "seed=4", "--dry-run", "--json"]) == 0
    (fault,) = json.loads(capsys.readouterr().out)["profile"]["fault"]
    assert (fault["phase"], fault["target"], fault["action"]) == ("snapshot", "destination", "kill")


@pytest.mark.parametrize("text", ["4", "seed=", "seed=x", "seed=-1", "sead=1", "seed=1.5", "seed=" + "9" * 40])
def test_what_is_no_seed_is_refused_in_one_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["run", str(SMOKE), "--faults", text, "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("harness: error: --faults ")
    assert "must be seed=N" in error
    assert len(error.splitlines()) == 1
