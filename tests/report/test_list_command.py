from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from harness import cli
from harness.record.run_row import RunRow
from tests.record.test_index import write_run, write_sweep


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_run(tmp_path / "a", profile="nat", loss_s=0.5, started_utc="2026-01-01T10:00:00+00:00")
    write_run(tmp_path / "b", mode="none", profile="nat", loss_s=None, started_utc="2026-01-02T23:59:59+00:00")
    write_run(
        tmp_path / "c",
        profile="pg",
        loss_s=0.25,
        started_utc="2026-01-03T01:00:00+01:00",
        validity={"verdict": "FAILED"},
    )
    write_sweep(tmp_path)
    (tmp_path / "foreign").mkdir()
    return tmp_path


def listed(results: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[Any]:
    assert cli.invoke(["list", str(results), "--json", *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["results"] == str(results)
    return list(document["runs"])


def names(rows: list[Any]) -> list[str]:
    return [row["path"].split("/")[0] for row in rows]


SWEEP = "20260101T000000Z-sweep-s"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [SWEEP, "a", "b", "c", "foreign"]),
        (["--reverse"], ["c", "b", "a", SWEEP, "foreign"]),
        (["--profile", "nat"], [SWEEP, "a", "b"]),
        (["--profile", "nat", "--profile", "pg", "--mode", "statelet"], [SWEEP, "a", "c"]),
        (["--mode", "none"], ["b"]),
        (["--verdict", "failed"], ["c"]),
        (["--git", "01234"], [SWEEP, "a", "b", "c"]),
        (["--git", "f"], []),
        (["--sweep", "sweep-s"], [SWEEP]),
        (["--since", "2026-01-02"], ["b", "c"]),
        (["--until", "2026-01-02"], [SWEEP, "a", "b"]),
        (["--since", "2026-01-01T10:00", "--until", "2026-01-01T10:00"], ["a"]),
        (["--sort", "loss"], ["c", "a", SWEEP, "b", "foreign"]),
        (["--sort", "loss", "--reverse"], ["a", "c", SWEEP, "b", "foreign"]),
        (["--limit", "1"], [SWEEP]),
    ],
)
def test_filters_and_order(
    results: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: list[str]
) -> None:
    assert names(listed(results, capsys, *arguments)) == expected


def test_one_line_a_run_and_the_unreadable_below(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["list", str(results)]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert "loss s" in heading
    (line,) = (line for line in lines if "a/01-statelet" in line)
    for word in ("2026-01-01 10:00:00", "nat", "statelet", "VALID", "600 Mbit", "1400", "0.5000", "01234567"):
        assert word in line
    assert lines[-1] == "unreadable: foreign: not a directory of this program"


def test_nothing_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["list", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "no runs\n"


def test_the_files_hold_every_field(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, columns = tmp_path / "runs.csv", tmp_path / "runs.parquet"
    assert cli.invoke(["list", str(results), "--csv", str(table), "--parquet", str(columns)]) == 0
    assert capsys.readouterr().out == ""
    expected = listed(results, capsys)
    rows = list(csv.DictReader(table.open()))
    assert [row["path"] for row in rows] == [row["path"] for row in expected]
    assert rows[1]["loss_s"] == "0.5"
    assert rows[2]["loss_s"] == ""
    assert set(rows[0]) == set(RunRow.model_fields)
    assert parquet.read_table(columns).to_pylist() == expected
    kinds = {field.name: str(field.type) for field in parquet.read_schema(columns)}
    assert (kinds["loss_s"], kinds["offered_bps"], kinds["git_changed"]) == ("double", "int64", "bool")


def test_without_pyarrow_it_says_what_to_install(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert cli.invoke(["list", str(results), "--parquet", str(tmp_path / "x")]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'slim-harness[parquet]'" in line
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "not a directory"),
        (["--since", "monday"], "--since 'monday': not a date"),
        (["--until", "2026-01-01T10:00+01:00"], "times are UTC"),
    ],
)
def test_a_mistake_is_one_line(
    results: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(results)
    (results / "results").mkdir()
    assert cli.invoke(["list", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_sweep_or_an_experiment_is_no_folder_of_results(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["list", str(results / SWEEP)]) == 2
    assert f"harness list {results} --sweep {SWEEP}" in capsys.readouterr().err
    assert cli.invoke(["list", str(results / "a")]) == 2
    assert "harness show" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_one_line(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["list", str(results), "--csv", str(results / "no" / "x.csv")]) == 4
    assert "choose another file" in capsys.readouterr().err
