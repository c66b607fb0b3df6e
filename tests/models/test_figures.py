"""The papers' figures: what their texts say of them, read off the data that is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import UsageError
from harness.models import figures
from harness.models.figure import Curve, FigureData, Panel, draw
from harness.models.figures import FIGURES, paper_figure

EVERY = [(paper, number) for paper, numbers in FIGURES.items() for number in numbers]


def curves(paper, number, panel=0):
    return {c.label: c for c in paper_figure(paper, number).panels[panel].curves}


def at(line, x):
    return float(line.y[np.abs(line.x.filled(np.nan) - x).argmin()])


@pytest.mark.parametrize(("paper", "number"), EVERY)
def test_every_figure_has_points_and_names_its_units(paper, number):
    figure = paper_figure(paper, number)
    assert figure.name == f"{paper}-{number}"
    for panel in figure.panels:
        assert panel.x_label
        assert panel.y_label
        for line in panel.curves:
            assert line.x.shape == line.y.shape
            assert line.y.count() >= 2
            assert np.isfinite(line.y.compressed()).all()


def test_slim_6_curves_end_at_their_intercepts():
    for label, intercept in (("0.5 s", 200.0), ("1 s", 771.4), ("2 s", 905.9), ("5 s", 966.0), ("any", 1000.0)):
        line = curves("slim", 6)[f"T_all = {label}"]
        defined = line.x[~np.ma.getmaskarray(line.y)]
        assert float(defined.max()) == pytest.approx(intercept, abs=2)


def test_slim_7_has_its_cut_at_500():
    on, off = paper_figure("slim", 7).panels[0].curves
    assert at(on, 500) == pytest.approx(1.468, abs=2e-3)
    slope = np.diff(on.y.filled(np.nan)) / np.diff(on.x.filled(np.nan))
    kink = slope[:-1] - slope[1:]
    assert float(on.x[kink.argmax() + 1]) == pytest.approx(500, abs=2)
    assert np.ptp(off.y[off.x >= 500]) < 1e-9


def test_multi_vm_1_serial_is_the_faster_and_parallel_the_shorter_downtime():
    lines = curves("multi-vm", 1)
    assert (lines["serial, total migration time"].y <= lines["parallel, total migration time"].y).all()
    below = lines["parallel, downtime"].x < 0.12
    assert (lines["parallel, downtime"].y[below] < lines["serial, downtime"].y[below]).all()
    saw_tooth = np.flatnonzero(np.diff(lines["parallel, downtime"].y.filled(0)) < 0)
    assert float(lines["parallel, downtime"].x[saw_tooth[-1]]) == pytest.approx(0.0897, abs=2e-4)


def test_multi_vm_2_serial_needs_one_or_two_rounds():
    lines = curves("multi-vm", 2)
    assert set(lines["serial"].y.tolist()) == {1, 2}
    assert set(lines["parallel"].y.tolist()) == set(range(1, 9))


def test_multi_vm_3_parallel_downtime_stays_around_five_seconds():
    line = curves("multi-vm", 3)["parallel, downtime"]
    assert 4 < float(line.y.min()) < float(line.y.max()) < 7


def test_multi_vm_6_is_equal_for_one_vm_and_explodes_beyond_four():
    lines = curves("multi-vm", 6)
    serial, parallel = lines["serial, total migration time"], lines["parallel, total migration time"]
    assert float(serial.y[0]) == float(parallel.y[0])
    assert parallel.x.tolist() == list(range(1, 13))
    assert np.ptp(np.diff(serial.y)) < 1e-9
    assert float(parallel.y[-1]) > 7 * float(serial.y[-1])


def test_multi_vm_7_one_critical_vm_is_down_shorter_than_the_parallel_set():
    lines = curves("multi-vm", 7)
    beyond = lines["parallel"].x > 0.1
    assert (lines["serial, m = 2 critical"].y[beyond] < lines["parallel"].y[beyond]).all()
    assert (lines["serial, m = 1 critical"].y <= lines["parallel"].y + 1e-12).all()


def test_chain_2_alpha_makes_the_advantage_notable():
    lines = curves("chain", 2, panel=1)
    for name in ("downtime", "migration time"):
        one, less = (lines[f"improved serial, alpha = {alpha}, {name}"].y for alpha in ("1", "0.7"))
        assert (less < one).all()
        assert (one <= lines[f"serial, {name}"].y).all()


@pytest.mark.parametrize(("number", "grows"), [(3, True), (4, False)])
def test_chain_3_and_4_grow_and_fall_with_m(number, grows):
    for panel in paper_figure("chain", number).panels:
        for smaller, larger in zip(panel.curves, panel.curves[1:], strict=False):
            assert ((larger.y > smaller.y) == grows).all()


def test_chain_5_everything_grows_with_the_service_time():
    for panel in paper_figure("chain", 5).panels:
        for shorter, longer in zip(panel.curves, panel.curves[1:], strict=False):
            assert (longer.y > shorter.y).all()


def test_what_is_no_figure_of_a_model_is_named():
    with pytest.raises(UsageError, match="figure 1 of 'chain' shows no model; those that do are 2, 3, 4, 5"):
        paper_figure("chain", 1)
    with pytest.raises(UsageError, match="no paper 'x'"):
        figures.paper_figure("x", 1)


def small():
    x, y = np.ma.asarray([1.0, 2.0, 3.0]), np.ma.MaskedArray([1.0, 2.0, np.nan], mask=[0, 0, 1])
    return FigureData("small", "title", (Panel("", "x [s]", "y [1]", (Curve("a", x, y), Curve("b", x, y + 1))),))


def test_drawing_is_repeatable_and_text_stays_text(tmp_path):
    first, again = tmp_path / "a.svg", tmp_path / "b.svg"
    draw(small(), first)
    draw(small(), again)
    assert first.read_bytes() == again.read_bytes()
    assert b"<svg" in first.read_bytes()
    draw(small(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["a.txt", "png", "a.jpg"])
def test_only_known_formats_are_drawn(tmp_path, name):
    with pytest.raises(UsageError, match=r"\.png, \.svg, \.pdf"):
        draw(small(), tmp_path / name)


def test_a_file_that_cannot_be_written_is_a_mistake(tmp_path):
    with pytest.raises(UsageError, match="cannot be written"):
        draw(small(), tmp_path / "missing" / "a.png")


def test_rows_leave_masked_points_empty():
    assert [row[3] for row in small().rows()] == [1.0, 2.0, None, 2.0, 3.0, None]
