"""`harness model` from the outside: what it prints, its exit codes, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import pytest

from harness import cli
from harness.models.parameters import PARAMETERS

MODELS = ["slim", "vm-delta", "multi-vm", "chain", "queue"]


@pytest.fixture
def run(capsys):
    def invoke(*arguments):
        code = cli.invoke(["model", *arguments])
        output = capsys.readouterr()
        return code, output.out, output.err

    return invoke


def answers(run, *arguments):
    code, output, error = run(*arguments, "--json")
    assert code == 0, error
    return json.loads(output, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def rows(run, *arguments):
    code, output, error = run(*arguments, "--csv")
    assert code == 0, error
    return list(csv.DictReader(io.StringIO(output)))


def test_help_of_everything_else_loads_no_model():
    code = (
        "import sys; from harness.cli import invoke; invoke(['--help']);"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('numpy', 'scipy', 'matplotlib', 'simpy')"
        " or m.startswith('harness.models')))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "model " in output
    assert output.splitlines()[-1] == "[]"


def test_help(run):
    code, output, _ = run("--help")
    assert code == 0
    assert all(name in output for name in (*MODELS, "plan", "overlay", "printed", "--figure"))
    assert run()[0] == 0
    for name in (*MODELS, "plan"):
        code, output, _ = run(name, "--help")
        assert code == 0
        assert all(f"--{p.name}" in output for p in PARAMETERS[name])


def test_reference_values_of_every_model(run):
    def values(*arguments):
        return {key: entry["values"] for key, entry in answers(run, *arguments)["results"].items()}

    assert values("slim", "--load-ab", "500M", "--within", "1s")["sigma_max"] == pytest.approx(0.27143, abs=1e-5)
    assert values("vm-delta", "--load", "450M")["downtime_s"] == pytest.approx(0.268, abs=1e-3)
    assert values("multi-vm")["parallel_s"] == pytest.approx(189.042, abs=1e-3)
    assert values("multi-vm", "--critical", "1")["serial_downtime_s"] == pytest.approx(0.8037, abs=1e-4)
    chain = values("chain", "--max-downtime", "20s", "--alpha", "0.7")
    assert (chain["mixed_3_s"], chain["required_m"]) == (pytest.approx(42.021, abs=1e-3), 2)
    assert values("chain", "--rounds", "ceil")["mixed_s"] == pytest.approx(42.9696)
    assert values("queue")["waiting_s"] == pytest.approx(0.06705, abs=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_tables_list_what_the_papers_print(run, model):
    code, output, _ = run(model)
    assert code == 0
    assert "printed X, computed Y" in output
    assert "not reproduced" in output
    other = {
        "slim": "--sigma=0.5",
        "vm-delta": "--load=1M",
        "multi-vm": "--vms=3",
        "chain": "--m=3",
        "queue": "--arrival=0.05",
    }
    assert "printed X" not in run(model, other[model])[1]


def test_printed(run):
    code, output, _ = run("printed")
    assert code == 0
    assert "printed 53.5 MB, computed 53.169 MB; not reproduced" in output
    assert {paper: len(numbers) for paper, numbers in answers(run, "printed").items()} == {
        "slim": 5,
        "multi-vm": 7,
        "chain": 5,
    }


def test_a_sweep_has_masked_cells_and_no_nan(run):
    document = answers(run, "multi-vm", "--sweep", "vms=11:14:4")
    assert document["results"]["parallel_s"]["values"][1:] == [pytest.approx(867.205, abs=1e-3), None, None]
    table = rows(run, "multi-vm", "--sweep", "vms=11:14:4")
    assert [row["parallel_s"] == "" for row in table] == [False, False, True, True]
    assert [float(row["vms"]) for row in table] == [11, 12, 13, 14]
    assert all(row["serial_s"] for row in table)
    assert "nan" not in str(table).lower()
    assert " - " in run("multi-vm", "--sweep", "vms=11:14:4")[1]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_sweeps(run, model):
    sweep = {"slim": "sigma=0:1:3", "vm-delta": "load=1M:999M:3", "multi-vm": "ratio=0:0.1:3", "chain": "m=1,2,3"}
    table = rows(run, model, "--sweep", sweep.get(model, "arrival=0.01:0.2:3"))
    assert len(table) == 3
    assert all(len(set(row)) == len(table[0]) for row in table)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["multi-vm", "--vms", "13"], "M*lambda = M*P*D/R must be below 1"),
        (["multi-vm", "--ratio", "1"], "lambda = P*D/R must be below 1"),
        (["multi-vm", "--threshold", "1GiB"], "the threshold is a part of the memory"),
        (["multi-vm", "--resume", "-1s"], "is negative"),
        (["multi-vm", "--ratio", "-0.1"], "dirtying rate"),
        (["chain", "--alpha", "0.05"], "alpha"),
        (["chain", "--max-downtime", "1s"], "must not be below that of parallel migration"),
        (["queue", "--arrival", "0.3"], "the queue is unstable"),
        (["queue", "--bandwidth", "1M"], "C = floor(B/R)"),
        (["slim", "--sigma", "-1"], "statelet factor sigma"),
        (["slim", "--within", "100ms"], "T_all in s must be above T_B"),
        (["vm-delta", "--load", "1Gbit"], "nothing is left for the state transfer"),
        (["slim", "--image", "nta"], "no image 'nta'"),
        (["slim", "--image", "nat", "--sigma", "1"], "either --sigma or --image"),
        (["slim", "--image", "nat", "--statelet", "udp_out"], "write NAME=N"),
        (["slim", "--statelet", "x=1"], "of an --image"),
        (["slim", "--packet", "1400B"], "of an --image"),
        (["chain", "--figure", "3"], "--figure says what --plot draws"),
        (["vm-delta", "--sweep", "rounds=1,2"], "rounds: must be one number"),
        (["vm-delta", "--rounds", "0"], "number of rounds"),
        (["slim", "--json", "--csv"], "either --json or --csv"),
        (["slim", "--plot", "x.txt"], ".png, .svg, .pdf"),
        (["multi-vm", "--vm", "memory"], "write KEY=VALUE"),
        (["multi-vm", "--vm", "memory=1GiB", "--sweep", "vms=1,2"], "--vm integrates one case"),
        (["multi-vm", "--simulate", "5", "--sweep", "vms=1,2"], "leave out --sweep"),
        (["multi-vm", "--sweep", "vms=13:15:3", "--ratio", "0.1"], "M*lambda = M*P*D/R must be below 1"),
        (["--figure", "3"], "needs both --paper and --figure"),
        (["--figure", "1", "--paper", "chain"], "shows no model"),
        (["--json", "slim"], "behind its name"),
        (["plan", "--max-blocking", "2"], "is a probability"),
    ],
)
def test_mistakes_end_as_one_line_and_exit_code_2(run, arguments, message):
    code, output, error = run(*arguments)
    assert (code, output) == (2, "")
    assert error.startswith("harness: error: ")
    assert error.count("\n") == 1
    assert message in error


def test_an_infeasible_migration_is_an_answer(run):
    document = answers(run, "slim", "--sigma", "1", "--load-ab", "400M")["results"]
    assert (document["feasible"]["values"], document["migration_s"]["values"]) == (0, None)
    assert answers(run, "slim", "--load-ab", "0M")["results"]["sigma_max"]["values"] is None


def test_what_is_infinite_is_not_there(run):
    document = answers(run, "multi-vm", "--ratio", "0")["results"]
    assert document["saturation_memory_bytes"]["values"] is None
    assert document["vms_max"]["values"] is None
    assert "inf" not in run("multi-vm", "--ratio", "0", "--csv")[1]


def test_the_statelet_factor_of_an_image(run):
    document = answers(run, "slim", "--image", "nat", "--statelet", "udp_out=1/2", "--statelet", "udp_in=0.5")
    assert document["statelet_factor"]["payload"] == pytest.approx(12 / 512)
    assert document["parameters"]["sigma"] == pytest.approx(16 / 512)
    assert "0.02396 of payloads, 0.03177 with headers" in run("slim", "--image", "nat")[1]


def test_unequal_vms(run):
    equal = answers(run, "multi-vm", *["--vm", "memory=1GiB"] * 8)["sets"]
    assert equal["parallel"] == {
        "time_s": pytest.approx(189.042, abs=1e-3),
        "downtime_s": pytest.approx(5.5445, abs=1e-4),
    }
    table = rows(run, "multi-vm", "--vm", "memory=2GiB,rate=400Mbit", "--vm", "dirty-pages=100,threshold=1MiB")
    assert [(row["strategy"], row["vm"]) for row in table] == [
        ("serial", "1"),
        ("serial", "2"),
        ("parallel", "1"),
        ("parallel", "2"),
    ]
    assert "parallel: total migration time" in run("multi-vm", "--vm", "page=4kB")[1]


def test_simulation_beside_the_closed_forms(run):
    checks = answers(run, "multi-vm", "--vms", "3", "--simulate", "15", "--seed", "4")["simulation"]
    assert [c["agrees"] for c in checks] == [True, True, True, None] * 2
    checks = answers(run, "chain", "--simulate", "15", "--m", "2")["simulation"]
    assert [c["agrees"] for c in checks] == [True, True, True, None]
    code, output, _ = run("queue", "--simulate", "3", "--service", "10s", "--arrival", "0.8")
    assert code == 0
    assert "99% intervals" in output


def test_plan(run):
    document = answers(run, "plan", "--max-downtime", "20s", "--max-blocking", "0.02")
    assert document["chosen"]["parallel_vms"] == 3
    assert document["channels"] == 10
    code, output, error = run("plan", "--max-downtime", "2s")
    assert code == 3
    assert "no strategy keeps the limits" in error
    assert "2-mixed" in output
    assert [row["chosen"] for row in rows(run, "plan", "--max-downtime", "20s")] == ["0", "0", "0", "1", "0", "0"]


def test_plots(run, tmp_path):
    for number, arguments in enumerate(
        [
            ["slim"],
            ["queue", "--sweep", "arrival=0.01:0.2:9"],
            ["multi-vm", "--figure", "6", "--vms", "4"],
            ["plan", "--max-downtime", "20s"],
            ["--paper", "slim", "--figure", "7"],
        ]
    ):
        path = tmp_path / f"{number}.svg"
        code, _, error = run(*arguments, "--plot", str(path))
        assert (code, error) == (0, f"figure: {path}\n")
        assert b"<svg" in path.read_bytes()


def test_a_papers_figure(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, output, _ = run("--paper", "multi-vm", "--figure", "3")
    assert code == 0
    assert (tmp_path / "multi-vm-3.svg").is_file()
    assert "printed 1.87 GB, computed 1.8808 GB; not reproduced" in output
    points = rows(run, "--paper", "slim", "--figure", "6")
    assert {row["curve"] for row in points} >= {"T_all = 0.5 s", "packet duplication, sigma = 1"}
    assert len(answers(run, "--paper", "chain", "--figure", "3")["panels"]) == 3
    assert len(list(tmp_path.iterdir())) == 1
