from __future__ import annotations

from typing import Any

import pytest

from dashboards.preview_page import name_of, page, rows_of


def panel(kind: str, title: str = "T <b>", unit: str = "ns", y: int = 0) -> dict[str, Any]:
    return {
        "type": kind,
        "title": title,
        "gridPos": {"x": 12, "y": y, "w": 12, "h": 8},
        "fieldConfig": {
            "defaults": {"unit": unit, "custom": {}, "thresholds": {"steps": [{"value": None}, {"value": 15e6}]}},
            "overrides": [],
        },
    }


def test_a_series_is_named_by_its_alias() -> None:
    assert name_of("$tag_mode $tag_run_id $col", "p99", {"mode": "none", "run_id": "r"}) == "none r p99"
    assert name_of("", "p99", {}) == "p99"
    assert name_of("$tag_process", "share", {}) == "share"


def test_a_panel_stands_in_its_place_with_its_values_in_the_units_of_the_axis() -> None:
    series = {"name": "traffic", "columns": ["time", "p50"], "values": [[0, 10_500_000], [1_000_000, None]]}
    text = page("Experiment", [(panel("timeseries", y=8), [("$col", series)])])
    assert "grid-column: 13 / span 12; grid-row: 9 / span 8;" in text
    assert "T &lt;b&gt;" in text
    assert "not Grafana" in text
    assert '"y":[10.5]' in text  # ms; what is null is left out
    assert '"y0":15.0' in text  # the limit
    assert rows_of([panel("timeseries", y=8), panel("table")]) == 16


def test_a_point_per_run_over_its_load() -> None:
    values = [[1, "none", 1e8, 0.5], [2, "statelet", 2e8, 0.25], [3, "statelet", 3e8, None]]
    series = {"name": "run_summary", "columns": ["time", "mode", "offered_bps", "loss_s"], "values": values}
    text = page("Comparison", [(panel("xychart", unit="s"), [("", series)])])
    assert '"x":[100.0],"y":[0.5]' in text
    assert '"x":[200.0],"y":[0.25]' in text


def test_a_panel_without_an_answer_says_so() -> None:
    assert "no data" in page("Experiment", [(panel("timeseries"), [])])


def test_a_panel_of_an_unknown_kind_is_no_empty_place() -> None:
    with pytest.raises(KeyError):
        page("Experiment", [(panel("heatmap"), [("", {"columns": [], "values": []})])])
