from __future__ import annotations

import io

import pytest
from rich.console import Console

from harness.measure.statistics import Estimate
from harness.record.summary import MigrationSummary, ValiditySummary
from harness.report.table import (
    MISSING,
    QUANTITIES,
    comparison_rows,
    comparison_table,
    format_estimate,
    group_by_mode,
    table_columns,
)


def rows(runs) -> dict[str, list[str]]:
    found = comparison_rows(runs)
    assert len({title for title, _ in found}) == len(found)
    return dict(found)


def test_modes_stand_in_the_order_of_the_comparison(run) -> None:
    assert list(group_by_mode([run("duplication"), run("zzz"), run("none"), run("statelet")])) == [
        "none",
        "statelet",
        "duplication",
        "zzz",
    ]


def test_figures_by_hand(run) -> None:
    migration = MigrationSummary(
        outcome="completed",
        duration_ns=812_300_000,
        downtime_ns=None,
        snapshot_bytes=20_971_520,
        pkt_q_max_packets={"interior": 17, "exterior": 40},
        st_q_in_max_packets=0,
    )
    found = rows([run("none"), run("statelet", migration=migration, longest_gap_ns=21_000_000, lost_packets=12345)])
    assert found["migration duration [ms]"] == [MISSING, "812.3"]
    assert found["downtime, longest gap [ms]"] == [MISSING, "21.00"]
    assert found["snapshot, with filler [bytes]"] == [MISSING, "20,971,520"]
    assert found["pkt_q max [packets]"] == [MISSING, "40"]
    assert found["st_q_in max [packets]"] == [MISSING, "0"]
    assert found["packets lost"] == ["2", "12,345"]
    assert found["offered load, both directions [Mbit/s]"] == ["600.0", "600.0"]
    assert found["RTT p50 [ms]"] == ["10.25", "10.25"]
    assert found["seconds of loss [s]"] == [MISSING, MISSING]
    assert found["migration"] == ["none", "completed"]
    assert found["invariants held"] == ["1/1", "1/1"]


def test_a_run_without_measurements_shows_no_zero(run) -> None:
    found = rows([run("statelet", window=None, ledger=None, invariants=())])
    shown = {title: cells[0] for title, cells in found.items() if cells[0] != MISSING}
    assert set(shown) == {"runs", "validity", "migration", "frame, with 42 header bytes [bytes]"}


def test_only_ledger_rows_in_use_are_shown(run) -> None:
    found = rows([run()])
    assert [title for title in found if title.startswith("ledger")] == [
        "ledger, whole run: delivered",
        "ledger, whole run: late",
        "ledger, whole run: vnf refusal",
        "ledger, whole run: unexplained",
    ]


def test_repetitions_give_mean_and_interval(run) -> None:
    found = rows([run(lost_packets=n) for n in (1, 2, 3)])
    # s = 1, t(0.975, 2) = 4.303: 4.303 / sqrt(3) = 2.48.
    assert found["packets lost"] == ["2 ± 2.5"]
    assert found["packets late (RTT > 15 ms)"] == ["5 ± 0"]


def test_repetition_without_a_figure_is_not_hidden(run) -> None:
    found = rows([run(rtt_p50_ns=10_000_000), run(rtt_p50_ns=None), run(rtt_p50_ns=12_000_000)])
    assert found["RTT p50 [ms]"][0].startswith("11.00 ± 12.71")
    assert found["RTT p50 [ms]"][0].endswith("(2 of 3)")


def test_failed_runs_count_and_are_shown_beside_the_valid_alone(run) -> None:
    failed = run(validity=ValiditySummary(verdict="FAILED", reasons=("x",)), lost_packets=12)
    runs = [run(lost_packets=3), failed, run(lost_packets=3), run("duplication")]
    assert [title for title, _ in table_columns(runs)] == ["statelet", "statelet, VALID only", "duplication"]
    found = rows(runs)
    assert found["validity"] == ["2 VALID, 1 FAILED", "VALID", "VALID"]
    assert [text.split()[0] for text in found["packets lost"]] == ["6", "3", "2"]


def test_mode_that_only_failed_has_one_column(run) -> None:
    failed = run(validity=ValiditySummary(verdict="FAILED", reasons=("x",)))
    assert [title for title, _ in table_columns([failed, failed])] == ["statelet"]


@pytest.mark.parametrize(
    ("found", "digits", "runs", "text"),
    [
        (Estimate(0, None, None), 2, 1, MISSING),
        (Estimate(1, 0.0, None), 0, 1, "0"),
        (Estimate(1, 1234.5, None), 1, 1, "1,234.5"),
        (Estimate(2, 2.5, 12.7), 0, 2, "2.5 ± 12.7"),
        (Estimate(1, 3.0, None), 0, 2, "3 (1 of 2)"),
    ],
)
def test_format_estimate(found, digits, runs, text) -> None:
    assert format_estimate(found, digits, runs) == text


def test_units_in_brackets_are_printed(run) -> None:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(comparison_table([run("none"), run("statelet")], "title [dim]"))
    text = console.file.getvalue()
    assert all(quantity.title in text for quantity in QUANTITIES)
    assert "none (control)" in text
    assert "title [dim]" in text
