"""Figures over time: which run is typical, what is drawn of it, and files that are no series."""

from __future__ import annotations

import numpy as np
import pytest

from harness.record.events import Event
from harness.record.rundir import Folder
from harness.record.sweep import read_results
from harness.report.figures.over_time import marks_of
from harness.report.figures.picture import Mark
from harness.report.figures.registry import pictures
from tests.report.sweep_builder import SweepBuilder, cell


@pytest.fixture
def sweep(tmp_path):
    return SweepBuilder(tmp_path, [cell()], repetitions=3)


def over_time(sweep):
    return pictures(read_results(sweep.path))


def test_share_of_lost_and_late_packets_around_the_migration(sweep):
    sweep.add(cell(), "duplication", 1)
    (picture,) = over_time(sweep).over_time
    loss, rtt = picture.panels
    late, lost = loss.lines
    during = [(a.y, b.y) for a, b in zip(lost.points, late.points, strict=True) if 0 <= a.x < 0.5]
    assert during == [(pytest.approx(20), pytest.approx(70))] * 5
    assert {point.y for point in lost.points if not 0 <= point.x < 0.5} == {0}
    median = rtt.lines[-1].points
    assert max(point.y for point in median) == pytest.approx(40)


def test_the_phases_are_marked_at_their_times(sweep):
    sweep.add(cell(), "statelet", 1)
    (picture,) = over_time(sweep).over_time
    marks = {mark.label: mark.x for mark in picture.panels[0].marks}
    assert marks["trigger"] == 0
    assert marks["switchover"] == pytest.approx(0.40)
    assert marks["live"] == pytest.approx(0.47)


@pytest.mark.parametrize(
    ("phase", "text", "label"),
    [
        ("impairment", "source: rate 60Mbit: done (begun 0.3 ms after its time)", "source: rate 60Mbit"),
        ("impairment", "end of source: rate 60Mbit: done (begun 0.2 ms after its time)", "end: source: rate 6…"),
        ("fault.destination.kill", "kill destination at s+1.5 s begins: process 7", "kill destination"),
    ],
)
def test_what_was_done_on_purpose_is_marked(phase, text, label):
    events = [Event(3_500_000_000, 0, phase, text), Event(4_000_000_000, 0, "load_end", "load_end")]
    assert marks_of(events, 3_000_000_000) == (Mark(0.5, label),)


def test_the_run_with_the_median_loss_stands_for_the_cell(sweep):
    for repetition, loss_s in ((1, 5.0), (2, 1.0), (3, 0.0)):
        sweep.add(cell(), "duplication", repetition, loss_s=loss_s)
    (picture,) = over_time(sweep).over_time
    assert "duplication: repetition 2, VALID" in picture.notes


def test_a_valid_run_stands_before_a_failed_one(sweep):
    sweep.add(cell(), "duplication", 1, loss_s=9.0)
    sweep.add(cell(), "duplication", 2, verdict="FAILED", loss_s=0.1)
    sweep.add(cell(), "duplication", 3, verdict="FAILED", loss_s=0.1)
    (picture,) = over_time(sweep).over_time
    assert "duplication: repetition 1, VALID" in picture.notes


def test_modes_stand_side_by_side_over_the_same_time(sweep):
    for mode in ("none", "statelet", "duplication"):
        sweep.add(cell(), mode, 1)
    (picture,) = over_time(sweep).over_time
    assert picture.columns == 3
    assert [panel.title for panel in picture.panels[:3]] == ["control (no migration)", "statelet", "duplication"]
    assert len({panel.x_range for panel in picture.panels}) == 1


def wrong_type(arrays):
    return arrays | {"lost_packets": arrays["lost_packets"].astype(float)}


def wrong_length(arrays):
    return arrays | {"lost_packets": arrays["lost_packets"][:-1]}


def missing_array(arrays):
    return {key: value for key, value in arrays.items() if key != "rtt_max_ns"}


def backwards(arrays):
    return arrays | {"start_ns": arrays["start_ns"][::-1].copy()}


def elsewhere(arrays):
    return arrays | {"start_ns": arrays["start_ns"] - 10**12}


@pytest.mark.parametrize("damage", [wrong_type, wrong_length, missing_array, backwards, elsewhere])
def test_a_series_that_is_none_is_said_and_the_rest_is_drawn(sweep, damage):
    folder = sweep.add(cell(), "statelet", 1)
    with np.load(folder / "series.npz") as loaded:
        arrays = {key: loaded[key] for key in loaded.files}
    Folder(folder).write_arrays("series.npz", damage(arrays))
    made = over_time(sweep)
    assert made.over_time == ()
    assert made.drawings
    (complaint,) = made.complaints
    assert "series.npz" in complaint


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"\x80\x04."])
def test_a_file_that_is_no_archive_is_said(sweep, content):
    folder = sweep.add(cell(), "statelet", 1)
    (folder / "series.npz").write_bytes(content)
    (complaint,) = over_time(sweep).complaints
    assert "series.npz" in complaint


def test_a_run_whose_bulk_was_removed_has_no_figure_over_time(sweep):
    folder = sweep.add(cell(), "statelet", 1)
    (folder / "series.npz").unlink()
    made = over_time(sweep)
    assert made.over_time == ()
    assert "cannot be read" in made.complaints[0]
