from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.record import index as module
from harness.record.index import INDEX, read_index
from harness.record.run_row import RunRow
from harness.record.sweep import SWEEP
from tests.report.conftest import make_run

GIT = {"revision": "0123456789abcdef", "changed": False}


def write_run(experiment: Path, number: int = 1, mode: str = "statelet", **changed: Any) -> Path:
    """A run's folder in an experiment's directory, both made where they are not there."""
    folder = experiment / f"{number:02d}-{mode}"
    folder.mkdir(parents=True, exist_ok=True)
    (experiment / "manifest.json").write_text(json.dumps({"git": GIT}))
    (folder / "summary.json").write_text(make_run(mode, **changed).model_dump_json())
    return folder


def write_sweep(results: Path) -> Path:
    sweep = results / "20260101T000000Z-sweep-s"
    write_run(sweep / "runs" / "20260101T000000Z-nat-x", profile="nat")
    (sweep / SWEEP).write_text("{}")
    return sweep


def by_path(results: Path) -> dict[str, RunRow]:
    rows = read_index(results)
    assert len({row.path for row in rows}) == len(rows)
    return {row.path: row for row in rows}


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the runs that are read from now on."""
    read: list[str] = []
    original = module.read_row

    def read_row(folder: Path, path: str, *others: Any) -> RunRow:
        read.append(path)
        return original(folder, path, *others)

    monkeypatch.setattr(module, "read_row", read_row)
    return read


def test_runs_of_experiments_and_sweeps_are_found_with_their_figures(tmp_path: Path) -> None:
    write_run(tmp_path / "e1", loss_s=0.25, rtt_late_s=0.5)
    write_run(tmp_path / "e1", 2, "none")
    write_sweep(tmp_path)
    found = by_path(tmp_path)
    assert set(found) == {
        "e1/01-statelet",
        "e1/02-none",
        "20260101T000000Z-sweep-s/runs/20260101T000000Z-nat-x/01-statelet",
    }
    row = found["e1/01-statelet"]
    assert (row.loss_s, row.rtt_late_s, row.verdict, row.mode) == (0.25, 0.5, "VALID", "statelet")
    assert (row.profile, row.offered_bps, row.frame_bytes, row.experiment) == ("nat_1400B", 600_000_000, 1400, "e1")
    assert (row.git_revision, row.git_changed, row.started_utc) == (GIT["revision"], False, "2026-01-01T00:00:00Z")
    assert row.duration_s is None, "not measured is not 0"
    assert {row.sweep for row in found.values()} == {"", "20260101T000000Z-sweep-s"}


def test_only_what_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("e1", "e2", "e3"):
        write_run(tmp_path / name)
    read_index(tmp_path)
    read = counted(monkeypatch)
    before = by_path(tmp_path)
    assert read == []
    write_run(tmp_path / "e2", loss_s=9.0)
    shutil.rmtree(tmp_path / "e3")
    write_run(tmp_path / "e4")
    write_run(tmp_path / "e1", 2, "none")
    after = by_path(tmp_path)
    assert set(read) == {"e1/01-statelet", "e1/02-none", "e2/01-statelet", "e4/01-statelet"}
    assert after["e2/01-statelet"].loss_s == 9.0
    assert set(after) == {"e1/01-statelet", "e1/02-none", "e2/01-statelet", "e4/01-statelet"}
    assert before["e1/01-statelet"] == after["e1/01-statelet"]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda place: place.mkdir(), "not a directory of this program"),
        (lambda place: (place / "sub").mkdir(parents=True), "not a directory of this program"),
        (lambda place: (write_run(place) / "summary.json").write_text('{"schema'), "summary.json"),
        (lambda place: (write_run(place) / "summary.json").write_bytes(b"\xff\0"), "summary.json"),
        (lambda place: (write_run(place) / "summary.json").write_text("[" * 100_000), "summary.json"),
        (lambda place: (write_run(place) / "summary.json").unlink(), "the run goes on, or was ended by force"),
        (lambda place: shutil.rmtree(write_run(place)), "no run in it"),
        (lambda place: write_run(place, started_utc="yesterday"), "not a measurement"),
        (lambda place: write_run(place, lost_packets=10**30), "beyond 64 bits"),
        (lambda place: (write_run(place) / "summary.json").write_text('{"\\u001b[31m": 1}'), "summary.json"),
    ],
)
def test_what_cannot_be_read_is_listed_with_the_reason(
    tmp_path: Path, make: Callable[[Path], object], problem: str
) -> None:
    write_run(tmp_path / "good")
    make(tmp_path / "bad")
    for _again in range(2):
        found = by_path(tmp_path)
        (bad,) = (row for row in found.values() if row.path != "good/01-statelet")
        assert problem in bad.problem
        assert bad.problem.isprintable()
        assert (bad.verdict, bad.loss_s) == ("", None)
        assert found["good/01-statelet"].verdict == "VALID"


def test_a_torn_run_is_seen_once_it_is_whole(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "e1")
    text = (folder / "summary.json").read_text()
    (folder / "summary.json").write_text(text[:100])
    assert by_path(tmp_path)["e1/01-statelet"].problem
    (folder / "summary.json").write_text(text)
    assert by_path(tmp_path)["e1/01-statelet"].verdict == "VALID"


@pytest.mark.parametrize("manifest", [b"", b"{}", b'{"git": 3}', b'{"git": {"revision": 7, "changed": "x"}}', b"\xff"])
def test_a_manifest_that_does_not_tell_the_revision_is_no_obstacle(tmp_path: Path, manifest: bytes) -> None:
    write_run(tmp_path / "e1")
    (tmp_path / "e1" / "manifest.json").write_bytes(manifest)
    row = by_path(tmp_path)["e1/01-statelet"]
    assert (row.verdict, row.git_revision, row.git_changed) == ("VALID", "", None)


def _other_version(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 99")


def _other_columns(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("DROP TABLE run")
        connection.execute("CREATE TABLE run (directory, stamp, path)")


def _other_types(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE run SET loss_s = 'much'")


def _torn(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"no database" * 1000),
        _torn,
        _other_version,
        _other_columns,
        _other_types,
    ],
)
def test_a_damaged_index_is_made_anew(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    for number in range(40):
        write_run(tmp_path / f"e{number}", loss_s=0.5)
    before = by_path(tmp_path)
    damage(tmp_path / INDEX)
    assert by_path(tmp_path) == before
    with sqlite3.connect(tmp_path / INDEX) as connection:
        assert connection.execute("SELECT count(*) FROM run WHERE loss_s = 0.5").fetchone() == (40,)


def test_where_no_index_can_be_kept_the_answer_comes_without(tmp_path: Path) -> None:
    write_run(tmp_path / "e1")
    (tmp_path / INDEX).mkdir()
    assert set(by_path(tmp_path)) == {"e1/01-statelet"}


def test_no_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a directory"):
        read_index(tmp_path / "nothing")


def test_many_may_use_it_while_runs_come_and_it_breaks(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from harness.record.index import read_index\n"
        "for _ in range(6): print(len(read_index(Path(sys.argv[1]))), flush=True)"
    )
    for number in range(30):
        write_run(tmp_path / f"e{number}")
    readers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    (tmp_path / INDEX).write_bytes(b"broken" * 500)
    for number in range(30, 60):
        write_run(tmp_path / f"e{number}")
    for reader in readers:
        output, _ = reader.communicate(timeout=60)
        assert reader.returncode == 0
        counts = [int(line) for line in output.splitlines()]
        assert len(counts) == 6
        assert counts == sorted(counts)
        assert 30 <= counts[0] <= counts[-1] <= 60
    assert len(read_index(tmp_path)) == 60


def test_ten_thousand_runs_are_listed_within_a_second(tmp_path: Path) -> None:
    text = make_run(ledger=None).model_dump_json()
    for number in range(10_000):
        folder = tmp_path / f"e{number}" / "01-statelet"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(text)
    assert len(read_index(tmp_path)) == 10_000
    # CPU time: what others do on the machine is not the subject.
    started = time.process_time()
    assert len(read_index(tmp_path)) == 10_000
    assert time.process_time() - started < 1.0
