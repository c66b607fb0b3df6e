"""Which runs stand in which figure, at which load, with which interval; nothing is drawn here."""

from __future__ import annotations

import csv
import io

import pytest

from harness.record.summary import PortDepths
from harness.record.sweep import read_results
from harness.report.figures.labels import spread
from harness.report.figures.registry import FIGURES, pictures
from harness.report.figures.success import share
from tests.report.sweep_builder import SweepBuilder, cell

LOADS = (100, 800)


def lose_at_800(place, mode, repetition):
    return {"loss_s": 1.0 + 0.1 * repetition} if mode == "duplication" and place.nominal_load_bps > 5e8 else {}


@pytest.fixture
def sweep(tmp_path):
    cells = [cell(load_m=load) for load in LOADS]
    return SweepBuilder(tmp_path, cells).fill(lose_at_800)


def by_number(path, number, with_failed=None, **options):
    found = [d for d in pictures(read_results(path), **options).drawings if d.picture.number == number]
    (drawing,) = [d for d in found if d.with_failed == with_failed]
    return drawing.picture


def points(picture, label, panel=0):
    (line,) = [line for line in picture.panels[panel].lines if line.label == label]
    return line.points


def test_every_figure_of_the_paper_is_listed_once():
    numbers = [number for kind in FIGURES for number in kind.paper.values()]
    assert sorted(numbers) == list(range(11, 19))


def test_mean_and_student_interval_over_the_load(sweep):
    low, high = points(by_number(sweep.path, 11), "duplication 1400 B")
    assert (low.x, low.y, low.count) == (100, 0, 3)
    # 1.1, 1.2, 1.3: s = 0.1, t(0.975, 2) = 4.3027
    assert high.y == pytest.approx(1.2)
    assert high.high - high.y == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    assert high.low == pytest.approx(2 * high.y - high.high)


def test_a_single_repetition_has_no_interval(tmp_path):
    sweep = SweepBuilder(tmp_path, [cell()], repetitions=1).fill()
    (point,) = points(by_number(sweep.path, 15), "statelet 1400 B")
    assert (point.y, point.low, point.high, point.count) == (0.4, None, None, 1)


def test_the_control_is_drawn_where_it_has_the_quantity(sweep):
    roles = {
        number: {line.mode for line in by_number(sweep.path, number).panels[0].lines} for number in (11, 13, 14, 15)
    }
    assert roles[11] == roles[13] == roles[14] == {"none", "statelet", "duplication"}
    assert roles[15] == {"statelet", "duplication"}


def test_a_line_per_mode_and_frame_size(tmp_path):
    cells = [cell(frame=frame) for frame in (512, 1400)]
    sweep = SweepBuilder(tmp_path, cells, modes=("statelet",), repetitions=1).fill()
    labels = [line.label for line in by_number(sweep.path, 17).panels[0].lines]
    assert labels == ["statelet 512 B", "statelet 1400 B"]


def test_state_traffic_is_snapshot_and_statelets(sweep):
    point = points(by_number(sweep.path, 18), "statelet 1400 B")[0]
    assert point.y == pytest.approx(20.98 + 0.3)


def test_invalid_runs_are_in_no_figure(tmp_path):
    sweep = SweepBuilder(tmp_path, [cell()], repetitions=1)
    sweep.add(cell(), "statelet", 1, loss_s=0.5)
    sweep.add(cell(), "statelet", 2, verdict="INVALID", loss_s=7.0)
    for drawing in pictures(read_results(sweep.path)).drawings:
        assert all(
            point.count <= 1 for panel in drawing.picture.panels for line in panel.lines for point in line.points
        )
    assert points(by_number(sweep.path, 11), "statelet 1400 B")[0].y == 0.5


def test_repeated_attempts_count_once(tmp_path):
    sweep = SweepBuilder(tmp_path, [cell()], repetitions=1)
    sweep.add(cell(), "statelet", 1, attempt=1, loss_s=9.0)
    sweep.add(cell(), "statelet", 1, attempt=2, loss_s=0.25)
    (point,) = points(by_number(sweep.path, 11), "statelet 1400 B")
    assert (point.y, point.count) == (0.25, 1)


def with_one_failed(tmp_path):
    sweep = SweepBuilder(tmp_path, [cell()])
    for repetition, loss_s in ((1, 0.1), (2, 0.2)):
        sweep.add(cell(), "duplication", repetition, loss_s=loss_s)
    sweep.add(cell(), "duplication", 3, verdict="FAILED", outcome="aborted", loss_s=3.0)
    return sweep


def test_figures_exist_with_and_without_failed_runs(tmp_path):
    sweep = with_one_failed(tmp_path)
    (every,) = points(by_number(sweep.path, 11, with_failed=True), "duplication 1400 B")
    (valid,) = points(by_number(sweep.path, 11, with_failed=False), "duplication 1400 B")
    assert (every.y, every.count, every.failed) == (pytest.approx(1.1), 3, 1)
    assert (valid.y, valid.count, valid.failed) == (pytest.approx(0.15), 2, 0)
    assert by_number(sweep.path, 11, with_failed=True).runs == 3


def test_only_one_of_the_two_when_asked(tmp_path):
    made = pictures(read_results(with_one_failed(tmp_path).path), failed=False)
    assert {drawing.with_failed for drawing in made.drawings} == {False}
    # Success is about the failed runs: left out with them, and not missing from the results.
    assert not any("success" in missing.title for missing in made.missing)


def test_an_aborted_migration_is_no_point_of_duration(tmp_path):
    (point,) = points(by_number(with_one_failed(tmp_path).path, 15, with_failed=True), "duplication 1400 B")
    assert point.count == 2


def test_success_counts_completed_and_sound(tmp_path):
    made = pictures(read_results(with_one_failed(tmp_path).path))
    (picture,) = [d.picture for d in made.drawings if d.kind == "success of migrations"]
    assert points(picture, "duplication 1400 B", panel=0)[0].y == pytest.approx(2 / 3)
    assert points(picture, "duplication 1400 B", panel=1)[0].y == 1


@pytest.mark.parametrize(
    ("judgements", "expected"),
    [
        ([], (None, None, None, 0)),
        ([None], (None, None, None, 0)),
        ([True], (1.0, None, None, 1)),
        # Wilson (1927) for 8 of 10.
        ([True] * 8 + [False] * 2 + [None], (0.8, 0.4902, 0.9433, 10)),
    ],
)
def test_a_share_and_its_interval(judgements, expected):
    point = share(1.0, judgements)
    assert (point.y, point.low, point.high, point.count) == pytest.approx(expected, abs=1e-4)


def test_what_the_results_lack_is_listed(sweep):
    missing = {entry.number: entry for entry in pictures(read_results(sweep.path)).missing}
    assert set(missing) == {12, 16}
    assert "image pg" in missing[12].reason


def test_without_control_its_figure_is_missing(tmp_path):
    sweep = SweepBuilder(tmp_path, [cell("pg")], modes=("statelet",), repetitions=1).fill()
    made = pictures(read_results(sweep.path))
    assert {drawing.picture.number for drawing in made.drawings} >= {12, 16}
    assert any(entry.title == "control, pg" for entry in made.missing)


def test_loads_of_a_scaled_sweep_are_those_of_the_unscaled(tmp_path):
    sweep = SweepBuilder(tmp_path, [cell(load_m=800, scale=0.25)], scale=0.25, repetitions=1).fill()
    picture = by_number(sweep.path, 17)
    assert points(picture, "statelet 1400 B")[0].x == 800
    assert picture.scale == "scale 0.25: uplink 250 Mbit/s; axis shows loads of the unscaled experiment"
    (rule,) = picture.panels[0].rules
    assert rule.y == 16_384


def test_an_unscaled_sweep_has_no_scale_note(sweep):
    assert by_number(sweep.path, 11).scale == ""


def test_a_load_without_a_value_is_a_gap(tmp_path):
    cells = [cell(load_m=load) for load in (100, 300, 500)]
    sweep = SweepBuilder(tmp_path, cells, repetitions=1)
    for place in cells:
        sweep.add(place, "duplication", 1)
        if place is not cells[1]:
            sweep.add(place, "statelet", 1)
    line = points(by_number(sweep.path, 11), "statelet 1400 B")
    assert [(point.x, point.y is None) for point in line] == [(100, False), (300, True), (500, False)]


def test_cells_that_differ_otherwise_are_never_pooled(tmp_path):
    cells = [cell(**{"uplink.latency": latency}) for latency in ("1ms", "5ms")]
    sweep = SweepBuilder(tmp_path, cells, modes=("statelet",), repetitions=1).fill()
    made = [d.picture for d in pictures(read_results(sweep.path)).drawings if d.picture.number == 11]
    assert [picture.runs for picture in made] == [1, 1]
    assert "uplink.latency=1ms" in made[0].title
    assert len({picture.name for picture in made}) == 2


def test_the_deeper_queue_of_the_two_ports_counts(tmp_path):
    sweep = SweepBuilder(tmp_path, [cell()], repetitions=1)
    sweep.add(cell(), "duplication", 1, pkt_q_max_packets=PortDepths(interior=12, exterior=65_536))
    assert points(by_number(sweep.path, 17), "duplication 1400 B")[0].y == 65_536


def test_csv_holds_every_point_and_no_formula(tmp_path):
    sweep = SweepBuilder(tmp_path, [cell()], modes=("=HYPERLINK(1)",), repetitions=2).fill()
    rows = list(csv.DictReader(io.StringIO(by_number(sweep.path, 11).csv())))
    assert [(row["x"], row["y"], row["n"], row["y_unit"]) for row in rows] == [("300.0", "0.0", "2", "s")]
    assert rows[0]["mode"] == "'=HYPERLINK(1)"


@pytest.mark.parametrize(
    ("places", "gap", "expected"),
    [
        ([], 0.1, []),
        ([0.5], 0.1, [0.5]),
        ([0.2, 0.8], 0.1, [0.2, 0.8]),
        ([0.5, 0.5], 0.2, [0.4, 0.6]),
        ([0.0, 0.0], 0.2, [0.0, 0.2]),
        ([1.0, 0.9, 1.0], 0.1, [0.9, 0.8, 1.0]),
    ],
)
def test_labels_are_moved_apart(places, gap, expected):
    assert spread(places, gap) == pytest.approx(expected)


def test_labels_that_do_not_fit_are_spaced_evenly():
    assert spread([0.5] * 5, 0.5) == pytest.approx([0, 0.25, 0.5, 0.75, 1])
