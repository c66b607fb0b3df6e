from __future__ import annotations

import json

import pytest

from harness import cli
from harness.bench.figures import BenchReport, Machine, figure
from tests.report.sweeps import cell, result, summary, write_sweep


@pytest.fixture
def sweep(tmp_path):
    def write(name, *values, **changed):
        found = [result(cell(), summary(loss_s=value, **changed), number) for number, value in enumerate(values, 1)]
        return str(write_sweep(tmp_path / name, found))

    return write


@pytest.fixture
def bench(tmp_path):
    def write(name, *, cpu="x", quick=False, **figures):
        machine = Machine(
            cpu_model=cpu, cpus=2, cpus_usable=2, memory_bytes=1, kernel="6.1", architecture="x86_64", python="3.11",
            numba="0.68", scheduler="fifo", steal_fraction=0, idle_fraction=0.5, load_average=(0, 0, 0),
        )  # fmt: skip
        report = BenchReport(
            harness_version="1", git=None, started_utc="2026-01-01T00:00:00+00:00", duration_s=1, quick=quick,
            machine=machine, figures=figures, bounds=[], notes=[],
        )  # fmt: skip
        path = tmp_path / name
        path.write_text(report.model_dump_json(by_alias=True))
        return str(path)

    return write


def rate(*values):
    return figure(values, "1/s", "higher")


def test_without_a_limit_it_only_reports(sweep, capsys):
    assert cli.invoke(["compare", sweep("a", 0.0, 0.0), sweep("b", 3.0, 3.0)]) == 0
    output = capsys.readouterr().out
    assert "nat 1400 B 400M statelet" in output
    assert "seconds of loss" in output
    assert "too few repetitions" in output


def test_a_breach_exits_3_and_names_what_is_worse(sweep, capsys):
    a, b = sweep("a", *[0.1] * 5), sweep("b", 3.0, 3.1, 3.2, 3.3, 3.4)
    assert cli.invoke(["compare", a, b, "--limit", "0.1s"]) == 3
    captured = capsys.readouterr()
    assert (
        "1 of 7 figures worse in B by more than 0.1s: nat 1400 B 400M statelet, seconds of loss (+3.1" in captured.err
    )
    assert "worse, BEYOND THE LIMIT" in captured.out
    assert cli.invoke(["compare", b, a, "--limit", "0.1s"]) == 0


def test_json_is_one_document_with_the_exit_code(sweep, capsys):
    arguments = ["compare", sweep("a", 0.1), sweep("b", 0.5), "--metric", "loss_s", "--limit", "5%", "--json"]
    assert cli.invoke(arguments) == 3
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == 3
    (row,) = document["rows"]
    assert (row["name"], row["unit"], row["a"], row["b"], row["breach"]) == ("window.loss_s", "s", [0.1], [0.5], True)
    assert row["shift"]["confidence"] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--metric", "los_s"], "did you mean window.loss_s?"),
        (["--limit", "5m"], "give a share"),
        (["--metric", "loss_s", "--limit", "1MB"], "no figure compared here is in that unit"),
    ],
)
def test_wrong_usage_is_one_line(sweep, capsys, arguments, said):
    assert cli.invoke(["compare", sweep("a", 0.1), sweep("b", 0.5), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_torn_run_is_reported_and_the_rest_compared(sweep, capsys, tmp_path):
    a, b = sweep("a", 0.1, 0.2), sweep("b", 0.1, 0.2)
    (tmp_path / "b/runs/1/01-statelet/summary.json").write_text('{"schema_ver')
    assert cli.invoke(["compare", a, b]) == 0
    assert "warning: B: damaged run left out" in capsys.readouterr().out


def test_a_bench_is_compared_figure_by_figure(bench, capsys):
    a = bench("a.json", trips=rate(100, 101, 102, 103, 104), pause=figure([5e6] * 5, "ns", "lower"), old=rate(1))
    b = bench("b.json", trips=rate(80, 81, 82, 83, 84), pause=figure([5e6] * 5, "ns", "lower"), cpu="y", quick=True)
    assert cli.invoke(["compare", a, b, "--limit", "10%", "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in document["rows"]}
    assert (rows["trips"]["verdict"], rows["trips"]["difference"], rows["trips"]["breach"]) == ("worse", -20, True)
    assert rows["pause"]["verdict"] == "no difference shown"
    assert {"different machines: cpu_model x and y", "not compared: old: only in A"} <= set(document["warnings"])
    assert cli.invoke(["compare", b, a, "--limit", "10%", "--metric", "trips"]) == 0
    assert "5.0 ms" not in capsys.readouterr().out


def test_a_bench_is_shown_in_units_that_fit(bench, capsys):
    a = bench("a.json", pause=figure([5e6], "ns", "lower"))
    assert cli.invoke(["compare", a, a]) == 0
    assert "pause [ms]" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "{}", "[" * 10_000, '{"schema": "other"}'])
def test_a_file_that_is_no_bench_is_refused(bench, capsys, tmp_path, content):
    (tmp_path / "no.json").write_text(content)
    assert cli.invoke(["compare", bench("a.json", trips=rate(1)), str(tmp_path / "no.json")]) == 2
    error = capsys.readouterr().err
    assert "no.json: not from 'harness bench --output'" in error
    assert error.count("\n") == 1


def test_what_cannot_be_paired_is_refused(bench, sweep, capsys, tmp_path):
    file, other = bench("a.json", trips=rate(1)), bench("b.json", pause=rate(1))
    for pair, said in (
        ((file, sweep("s", 0.1)), "cannot be compared"),
        ((file, str(tmp_path / "none")), "does not exist"),
        ((file, other), "no figure in common"),
        ((str(tmp_path), str(tmp_path)), "summary.json"),
    ):
        assert cli.invoke(["compare", *pair]) == 2
        assert said in capsys.readouterr().err
