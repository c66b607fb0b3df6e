"""The host as a factor: whether hosts differ is told, and not made up where it cannot be known."""

from __future__ import annotations

import numpy as np
import pytest

from harness.record.rundir import write_json
from harness.record.sweep import SweepEntry, append_entry, read_results, run_key
from harness.report.compare_results import compare_results
from harness.report.document import as_json, make_report
from harness.report.host_table import HERE, host_table, summary_line
from harness.report.page import render
from tests.report.sweep_builder import STARTED, SweepBuilder, cell

HOSTS = ("alpha", "beta", "gamma")


@pytest.fixture
def made(tmp_path):
    """Of 4 cells whose RTTs are far apart, 6 runs in each mode, dealt to three hosts; `slower_ms` is added on beta."""

    def make(slower_ms=0.0, hosts=HOSTS, repetitions=6):
        builder = SweepBuilder(tmp_path, [cell(load_m=load) for load in (100, 200, 300, 400)], repetitions=repetitions)
        rng = np.random.default_rng(3)
        for number, place in enumerate(builder.cells):
            for mode in builder.modes:
                for repetition in range(1, repetitions + 1):
                    host = hosts[int(rng.integers(len(hosts)))]
                    rtt_ms = 10 + 20 * number + rng.normal(0, 0.2) + (slower_ms if host == "beta" else 0.0)
                    builder.add(place, mode, repetition, host=host, largest_bin_mean_rtt_ns=rtt_ms * 1e6)
        return builder

    return make


def rows(builder):
    return {row.metric: row for row in host_table(read_results(builder.path)).rows}


def test_a_slow_host_is_found_among_cells_that_differ_by_far_more(made):
    found = rows(made(slower_ms=0.5))
    rtt = found["window.largest_mean_rtt_ms"]
    assert rtt.verdict == "differ"
    assert rtt.p < 1e-4
    deviation = {host: float(text.split()[0]) for host, text in zip(HOSTS, rtt.deviations, strict=True)}
    assert deviation["beta"] > 0.15  # of the mean it is itself part of
    assert max(deviation["alpha"], deviation["gamma"]) < 0
    assert found["window.loss_s"].verdict == "every run the same"


def test_hosts_alike_are_not_said_to_differ(made):
    builder = made()
    assert rows(builder)["window.largest_mean_rtt_ms"].verdict == "no difference shown"
    assert summary_line(host_table(read_results(builder.path))) == (
        "made on 3 hosts (alpha, beta, gamma); no difference shown"
    )


def test_with_few_runs_nothing_is_claimed(made):
    builder = made(slower_ms=50.0, hosts=("alpha", "beta"), repetitions=1)
    assert all(row.verdict.startswith("too few runs") for row in rows(builder).values())
    assert "too few runs to say" in summary_line(host_table(read_results(builder.path)))


def test_a_sweep_made_here_has_no_such_table(made):
    assert host_table(read_results(made(hosts=("",)).path)) is None


def test_lost_attempts_and_machines_are_on_the_page_and_in_a_comparison(made):
    builder = made(slower_ms=0.5, hosts=("", "beta", "gamma"))
    place = builder.cells[0]
    lost = SweepEntry(
        key=run_key(place.digest, "none", 1),
        cell=place.digest,
        mode="none",
        repetition=1,
        attempt=2,
        folder="runs/lost",
        verdict="INVALID",
        reasons=("lost during the run",),
        started_utc=STARTED,
        wall_s=1.0,
        window_s=0.0,
        interrupted=True,
        host="<b>gamma</b>",
    )
    append_entry(builder.path, lost)
    for folder in builder.written:
        machine = {"cpu": {"model": "Far CPU", "online": 4}, "kernel": {"release": "6.9"}}
        write_json(folder.parent / "manifest.json", machine)
    results = read_results(builder.path)
    report = make_report(results, over_time=lambda _: False)
    lines = {line.host: line for line in report.hosts.hosts}
    assert set(lines) == {HERE, "<b>gamma</b>", "beta", "gamma"}
    assert (lines["<b>gamma</b>"].runs, lines["<b>gamma</b>"].lost) == (0, 1)
    assert lines["beta"].machine == "Far CPU (4 CPUs), Linux 6.9"
    assert any("<b>gamma</b>: lost during the run" in reason for p in report.problems for reason in p.reasons)
    page = render(report)["report.html"].decode()
    assert "Do hosts differ?" in page
    assert "<b>gamma</b>" not in page
    assert [row["verdict"] for row in as_json(report)["hosts"]["rows"]].count("differ") == 1
    warnings = compare_results(results, results).warnings
    assert any(warning.startswith("A: made on 4 hosts") and "they differ in" in warning for warning in warnings)
