"""Aggregation, the promises, and the table made of them."""

from __future__ import annotations

import json
import math
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rich.console import Console

from harness.bench.bounds import BOUNDS, check_bounds
from harness.bench.figures import BenchReport, Figure, Machine, figure, paired_ratios
from harness.bench.table import bench_rows, bench_table


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=30))
def test_a_figure_keeps_every_value_and_its_order(values: list[float]) -> None:
    found = figure(values, "ns", "lower")
    assert found.values == values
    assert (found.minimum, found.maximum, found.count) == (min(values), max(values), len(values))
    middle = sorted(values)
    assert middle[(len(values) - 1) // 2] <= found.median <= middle[len(values) // 2]


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf]])
def test_nothing_and_what_is_not_finite_is_no_figure(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"value|finite"):
        figure(values, "ns", "lower")


def test_a_figure_from_a_file_must_agree_with_itself() -> None:
    document = figure([1.0, 2.0, 9.0], "1/s", "higher").model_dump()
    assert Figure.model_validate(document).median == 2.0
    with pytest.raises(ValidationError):
        Figure.model_validate({**document, "count": 2})


def test_a_drift_of_the_machine_cancels_in_paired_ratios() -> None:
    drift = [1.0, 1.7, 0.6, 3.0]
    assert paired_ratios([100 * d for d in drift], [110 * d for d in drift]) == pytest.approx([100 / 110] * 4)


@pytest.mark.parametrize(("a", "b"), [([1.0], [0.0]), ([1.0, 2.0], [1.0]), ([1.0], [-1.0])])
def test_what_makes_no_ratio_is_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match=r"denominator|argument"):
        paired_ratios(a, b)


@pytest.mark.parametrize(
    ("name", "value", "met"),
    [
        ("round_trips_512B_per_s", 80_000, True),
        ("round_trips_512B_per_s", 79_999, False),
        ("announcing_forwarding_512B_ratio", 0.95, True),
        ("announcing_forwarding_512B_ratio", 0.949, False),
        ("freeze_pause_maximum_ns", 1_000_001, False),
        ("memory_peak_source_bytes", 249_999_999, True),
    ],
)
def test_a_promise_is_judged_by_the_median(name: str, value: float, met: bool) -> None:
    (bound,) = check_bounds({name: figure([value, value, value * 100], "ns", "lower")})
    assert (bound.figure, bound.met) == (name, met)


def test_a_promise_about_nothing_measured_is_left_out() -> None:
    assert check_bounds({"something_else": figure([1], "ns", "lower")}) == []
    assert len({name for name, _, _ in BOUNDS}) == len(BOUNDS)


def report() -> BenchReport:
    figures = {
        "round_trips_512B_per_s": figure([81_000, 83_000, 79_000], "1/s", "higher"),
        "freeze_pause_ns": figure([2_500_000], "ns", "lower"),
        "memory_peak_source_bytes": figure([123_400_000], "bytes", "lower"),
        "announcing_forwarding_512B_ratio": figure([0.971], "ratio", "higher"),
    }
    machine = Machine(
        cpu_model=None,
        cpus=2,
        cpus_usable=2,
        memory_bytes=None,
        kernel="6.1",
        architecture="x86_64",
        python="3.11",
        numba="0.68",
        scheduler="fifo",
        steal_fraction=0.021,
        idle_fraction=0.5,
        load_average=(1.0, 1.0, 1.0),
    )
    return BenchReport(
        harness_version="1",
        git=None,
        started_utc="2026-01-01T00:00:00+00:00",
        duration_s=100.0,
        quick=False,
        machine=machine,
        figures=figures,
        bounds=check_bounds(figures),
        notes=[],
    )


def test_rows_scale_their_units_and_say_whether_a_promise_is_met() -> None:
    rows = {row[0]: row[1:] for row in bench_rows(report())}
    assert rows["round_trips_512B_per_s"] == ("81,000 /s", "79,000 /s", "83,000 /s", "3", "at least 80,000 /s: met")
    assert rows["freeze_pause_ns"][0] == "2.50 ms"
    assert rows["freeze_pause_ns"][4] == "at most 1.00 ms: NOT MET"
    assert rows["memory_peak_source_bytes"][0] == "123.40 MB"
    assert rows["announcing_forwarding_512B_ratio"][0] == "0.971"


def test_the_table_names_the_machine_and_what_it_did() -> None:
    out = StringIO()
    Console(file=out, width=160).print(bench_table(report()))
    assert "2.1% stolen" in out.getvalue()
    assert "x86_64" in out.getvalue()


def test_the_report_survives_json() -> None:
    document = json.loads(json.dumps(report().model_dump(mode="json", by_alias=True), allow_nan=False))
    assert document["schema"] == "slim-harness-bench"
    assert BenchReport.model_validate(document) == report()
    with pytest.raises(ValidationError):
        BenchReport.model_validate({**document, "surprise": 1})
