from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.record.sweep import read_manifest
from harness.sweep.engine import Session
from harness.sweep.store import open_sweep
from tests.sweep.conftest import SWEEP, Recorded


def test_everything_is_on_the_disk_before_the_first_run(sweep_file, ask, new_sweep):
    asked = ask(sweep_file())
    path = new_sweep(asked)
    assert sorted(entry.name for entry in path.iterdir()) == ["manifest.json", "runs", "sweep.json", "sweep.toml"]
    assert read_manifest(path) == asked.manifest
    assert (path / "sweep.toml").read_text() == "as given"


@pytest.mark.parametrize("override", ["sweep.description=other", "sweep.name=other"])
def test_what_changes_no_run_may_change(sweep_file, ask, new_sweep, override):
    path = new_sweep(ask(sweep_file()))
    assert open_sweep(path, ask(sweep_file(), override).manifest) == read_manifest(path)


@pytest.mark.parametrize(
    ("override", "difference"),
    [
        ("sweep.seed=3", "seed 1 there, 3 here"),
        ("sweep.repetitions=3", "repetitions 2 there, 3 here"),
        ("sweep.modes=['statelet']", 'modes ["statelet", "duplication"] there, ["statelet"] here'),
        ("sweep.scale=0.5", "scale 1.0 there, 0.5 here"),
        ("sweep.retries=0", "retries 1 there, 0 here"),
        ("load.flows=99", "2 cells only there, 2 only here"),
        ("load.rate=['10M', '20M', '30M']", "0 cells only there, 1 only here"),
    ],
)
def test_another_sweep_is_refused_and_nothing_written(sweep_file, ask, new_sweep, override, difference):
    asked = ask(sweep_file())
    path = new_sweep(asked)
    Session(path, asked.manifest, asked.cells, Recorded(), lambda _line: None, limit=1).carry_out()
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(UsageError) as raised:
        open_sweep(path, ask(sweep_file(), override).manifest)
    assert difference in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert before == {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_directory_of_something_else(sweep_file, ask, tmp_path):
    with pytest.raises(UsageError, match="not the directory of a sweep"):
        open_sweep(tmp_path, ask(sweep_file()).manifest)


def test_a_resumed_sweep_keeps_the_scale_it_found(sweep_file, ask, new_sweep):
    path = sweep_file(SWEEP.replace("10M", "100M"))
    first = ask(path, scale="auto", rates=lambda sizes: (dict.fromkeys(sizes, 6_000.0), "from a test"))
    # 100M at 512 bytes: 12,207 round trips/s; half of 6,000 is 0.245 of it.
    assert first.manifest.scale == 0.24
    assert first.manifest.scale_reason.startswith('"auto" asked for on the command line, from a test: 12,207')
    directory = new_sweep(first)
    again = ask(path, scale="auto", resume=directory)
    assert open_sweep(directory, again.manifest) == first.manifest


def test_scale_of_the_command_line_goes_before_the_files(sweep_file, ask):
    path = sweep_file(SWEEP.replace("[matrix]", "scale = 0.5\n[matrix]"))
    assert (ask(path).manifest.scale, ask(path).manifest.scale_reason) == (0.5, "asked for by mine.toml")
    other = ask(path, scale=0.2).manifest
    assert (other.scale, other.scale_reason) == (0.2, "asked for on the command line")
    assert {cell.nominal_load_bps for cell in other.cells} == {10**7, 2 * 10**7}
    assert {cell.load_bps for cell in other.cells} == {2 * 10**6, 4 * 10**6}


def test_nothing_is_scaled_unasked(sweep_file, ask):
    manifest = ask(sweep_file()).manifest
    assert (manifest.scale, manifest.scale_reason) == (1.0, "")
