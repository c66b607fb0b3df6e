"""Curves of single runs: which point becomes which curve, and files that are none of ours."""

from __future__ import annotations

import pytest

from harness.record.events import read_events
from harness.record.lineprotocol import format_point
from harness.record.sweep import read_results
from harness.report.figures import run_curves
from harness.report.figures.material import materials
from tests.report.sweep_builder import TRIGGER_NS, SweepBuilder, cell

TAGS = {"run_id": "r", "profile": "p", "mode": "statelet"}
TICK_NS = 100_000_000


@pytest.fixture
def sweep(tmp_path):
    return SweepBuilder(tmp_path, [cell()], repetitions=1)


@pytest.fixture
def folder(sweep):
    return sweep.add(cell(), "statelet", 1)


def wall_ns(folder, number):
    """Time of the n-th interval after the trigger."""
    first = read_events(folder / "events.jsonl")[0]
    return TRIGGER_NS + first.wall_ns - first.monotonic_ns + number * TICK_NS


def write(folder, *points):
    lines = [
        format_point(measurement, {**TAGS, **tags}, fields, wall_ns(folder, number))
        for number, measurement, tags, fields in points
    ]
    (folder / "points.lp").write_text("".join(f"{line}\n" for line in lines))


def build(sweep):
    (material,) = materials(read_results(sweep.path))
    return run_curves.build(material, material.runs, "title", "name")


def test_each_quantity_has_its_curve_in_the_unit_of_its_panel(sweep, folder):
    write(
        folder,
        *((n, "traffic", {}, {"offered_bps": 300e6, "received_bps": 200e6 + n}) for n in range(3)),
        (1, "queue", {"node": "destination", "kind": "pkt_q_interior"}, {"depth_packets": 7}),
        *((n, "link", {"node": "source", "link": "up0"}, {"rx_bytes": n * 1_250_000, "tx_bytes": 5}) for n in range(3)),
        (1, "link", {"node": "fabric", "link": "br0"}, {"rx_bytes": 1, "tx_bytes": 1}),
        (2, "host", {"process": "source"}, {"cpu_fraction": 0.25}),
        (2, "host", {}, {"idle_fraction": 0.5}),
    )
    picture, complaints = build(sweep)
    assert complaints == ()
    curves = [{line.label: [(p.x, p.y) for p in line.points] for line in panel.lines} for panel in picture.panels]
    rates, queues, links, processes = curves
    assert [y for _, y in rates["offered"]] == [300.0] * 3
    assert [x for x, _ in rates["offered"]] == pytest.approx([0.0, 0.1, 0.2])
    assert queues == {"destination pkt_q_interior": [(0.1, 7.0)]}
    # Counters are shown by their growth: 1.25 MB in 0.1 s.
    assert [y for _, y in links["source received"]] == pytest.approx([100.0, 100.0])
    assert set(links) == {"source received", "source sent"}
    assert processes == {"source": [(0.2, 25.0)]}
    assert {mark.label for mark in picture.panels[0].marks} >= {"trigger", "switchover"}


def test_a_counter_that_starts_again_is_no_rate(sweep, folder):
    counts = enumerate((1000, 2000, 10, 20))
    write(
        folder,
        (0, "traffic", {}, {"offered_bps": 1.0}),
        *((n, "link", {"node": "source", "link": "up0"}, {"rx_bytes": count}) for n, count in counts),
    )
    picture, _ = build(sweep)
    (received,) = (line for line in picture.panels[2].lines if line.label == "source received")
    assert [point.x for point in received.points] == pytest.approx([0.1, 0.3])


def test_a_torn_last_line_is_left_out(sweep, folder):
    write(folder, (0, "traffic", {}, {"offered_bps": 1.0}), (1, "traffic", {}, {"offered_bps": 1.0}))
    path = folder / "points.lp"
    path.write_bytes(path.read_bytes()[:-5])
    picture, complaints = build(sweep)
    assert complaints == ()
    assert len(picture.panels[0].lines[0].points) == 1


def test_a_file_of_something_else_is_said(sweep, folder):
    (folder / "points.lp").write_bytes(b"\x00\xff nothing\nof ours\n" * 3)
    picture, complaints = build(sweep)
    assert picture is None
    assert complaints == ()  # no point at all: as a run without any
    write(folder, (0, "traffic", {}, {"offered_bps": 1.0}))
    with (folder / "points.lp").open("a") as file:
        file.write("nothing\nof ours\n")
    picture, (complaint,) = build(sweep)
    assert picture is None
    assert "2 lines are no points" in complaint


def test_a_run_without_points_has_no_curves(sweep, folder):
    assert build(sweep) == (None, ())
