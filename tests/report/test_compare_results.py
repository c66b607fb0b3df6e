from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.report.compare_results import COMPARED, FAILED, compare_results
from tests.report.sweeps import cell, manifest, result, results, summary

LOSS = [COMPARED["window.loss_s"]]


def losses(*values: float, at=None, mode="statelet", **changed):
    at = at or cell()
    return [result(at, summary(mode, loss_s=value, **changed), number) for number, value in enumerate(values, 1)]


def rows_of(comparison, name="window.loss_s"):
    return {row.where: row for row in comparison.rows if row.quantity.name == name}


def test_cells_are_paired_by_image_frame_load_and_mode():
    mine = [item for load in (100, 300) for item in losses(0.1, at=cell(load_m=load))]
    other = [item for load in (300, 500) for item in losses(0.4, at=cell(load_m=load))]
    found = compare_results(results(*mine), results(*other))
    rows = rows_of(found)
    assert list(rows) == ["nat 1400 B 300M statelet"]
    assert rows["nat 1400 B 300M statelet"].difference == pytest.approx(0.3)
    assert "not compared: nat 1400 B 100M: only in A" in found.warnings
    assert "not compared: nat 1400 B 500M: only in B" in found.warnings


def test_frames_images_and_modes_are_kept_apart():
    mine = [
        *losses(0.1),
        *losses(0.2, at=cell(frame_bytes=512)),
        *losses(0.3, at=cell("pg")),
        *losses(0.4, mode="none"),
    ]
    rows = rows_of(compare_results(results(*mine), results(*mine)))
    assert {where: row.a for where, row in rows.items()} == {
        "nat 512 B 400M statelet": (0.2,),
        "nat 1400 B 400M statelet": (0.1,),
        "nat 1400 B 400M none": (0.4,),
        "pg 1400 B 400M statelet": (0.3,),
    }


def test_cells_that_differ_on_another_axis_are_paired_by_it():
    poisson, constant = cell(settings={"load.arrivals": "poisson"}), cell(settings={"load.arrivals": "constant"})
    mine = results(*losses(0.1, at=poisson), *losses(0.2, at=constant))
    rows = rows_of(compare_results(mine, results(*losses(0.5, at=constant), *losses(0.9, at=poisson))))
    assert {round(row.difference, 6) for row in rows.values()} == {0.3, 0.8}
    assert {"poisson" in where for where in rows} == {True, False}


def test_another_profile_at_the_same_load_is_compared_and_said():
    tuned = cell(settings={"migration.filler": "5MiB"})
    found = compare_results(results(*losses(0.1)), results(*losses(0.2, at=tuned)))
    assert len(rows_of(found)) == 1
    assert any(cell().digest in text and tuned.digest in text for text in found.warnings)


def test_nothing_in_common_names_both_sides():
    mine, other = cell(load_m=100), cell(load_m=200)
    with pytest.raises(UsageError) as caught:
        compare_results(results(*losses(0.1, at=mine), name="first"), results(*losses(0.1, at=other), name="second"))
    message = str(caught.value)
    assert "\n" not in message
    assert all(text in message for text in ("first", "second", mine.digest, other.digest, "100M", "200M"))


def test_no_mode_in_common_is_nothing_in_common():
    with pytest.raises(UsageError, match="nothing in common"):
        compare_results(results(*losses(0.1)), results(*losses(0.1, mode="duplication")))


def test_invalid_damaged_and_superseded_runs_are_left_out_and_counted():
    at = cell()
    bad = [
        result(at, summary(verdict="INVALID", loss_s=9.0), 2),
        result(at, None, 3, damage="x/summary.json: torn"),
        replace(result(at, summary(loss_s=7.0), 4), superseded=True),
    ]
    found = compare_results(results(*losses(0.1), *bad), results(*losses(0.1)))
    assert rows_of(found)["nat 1400 B 400M statelet"].a == (0.1,)
    assert "A: 1 of 3 runs INVALID, left out" in found.warnings
    assert "A: damaged run left out: x/summary.json: torn" in found.warnings
    assert "A: 1 attempts were repeated, left out" in found.warnings


def test_a_side_without_a_usable_run_is_not_measured():
    found = compare_results(results(*losses(0.1)), results(result(cell(), summary(verdict="INVALID"))))
    assert {row.verdict for row in found.rows} == {"not measured"}


def test_failed_runs_count_in_their_share_and_may_be_left_out_of_the_traffic():
    good, failed = losses(0.1, 0.1), losses(0.9, verdict="FAILED", outcome="aborted")
    with_failed = compare_results(results(*good), results(*good, *failed))
    without = compare_results(results(*good), results(*good, *failed), with_failed=False)
    where = "nat 1400 B 400M statelet"
    assert rows_of(with_failed)[where].b == (0.1, 0.1, 0.9)
    assert rows_of(without)[where].b == (0.1, 0.1)
    for found in (with_failed, without):
        assert rows_of(found, FAILED.name)[where].b_centre == pytest.approx(1 / 3)


def test_the_control_has_no_rows_of_a_migration():
    names = {
        row.quantity.name
        for row in compare_results(results(*losses(1, mode="none")), results(*losses(1, mode="none"))).rows
    }
    assert "window.loss_s" in names
    assert not any(name.startswith("migration.") for name in names)


def test_scales_are_compared_by_nominal_load_and_said():
    small = cell(scale=0.25)
    other = results(*losses(0.1, at=small), manifest=manifest(small, scale=0.25))
    found = compare_results(results(*losses(0.1)), other, LOSS)
    assert len(found.rows) == 1
    assert any("different scales, 1 and 0.25" in text for text in found.warnings)


def machine(path: Path, model: str) -> Path:
    path.mkdir()
    document = {"cpu": {"model": model, "online": 2}, "kernel": {"release": "6.1"}}
    (path / "manifest.json").write_text(json.dumps(document))
    return path


def test_another_machine_is_said(tmp_path):
    mine = replace(results(*losses(0.1)), path=machine(tmp_path / "a", "old"))
    other = replace(results(*losses(0.1)), path=machine(tmp_path / "b", "new"))
    assert not [text for text in compare_results(mine, mine).warnings if "machine" in text]
    assert any("old (2 CPUs)" in text and "new (2 CPUs)" in text for text in compare_results(mine, other).warnings)


@pytest.mark.parametrize("content", ["", "[]", '{"cpu": 3, "kernel": {}}', "[" * 100_000])
def test_a_manifest_that_says_nothing_is_said(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    mine = replace(results(*losses(0.1)), path=tmp_path)
    assert any("not recorded" in text for text in compare_results(mine, mine).warnings)


def test_numbers_beyond_measure_are_damage_and_control_characters_are_not_printed():
    huge = result(cell(), summary(duration_ns=10**400, loss_s=0.2), 2)
    found = compare_results(results(*losses(0.1), huge), results(*losses(0.1, mode="statelet")))
    assert rows_of(found)["nat 1400 B 400M statelet"].a == (0.1,)
    assert any("damaged" in text for text in found.warnings)
    with pytest.raises(UsageError) as caught:
        compare_results(results(*losses(0.1), name="\x1b[2J\n"), results(*losses(0.1, at=cell(load_m=1))))
    assert str(caught.value).isprintable()
