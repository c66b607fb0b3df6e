from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import __version__, cli
from harness.errors import CleanupError, LimitExceeded, MachineError, RunFailed
from harness.plan import Plan
from harness.profile import Profile
from harness.provision import facts

PROFILES = Path(__file__).parents[1] / "profiles"
SMOKE = str(PROFILES / "smoke.toml")


def facts_of_a_host(**differences):
    """The facts of this host, except that it has every privilege and all features but netem."""
    able = facts.gather_facts()
    features = facts.KernelFeatures(namespaces=True, veth=True, bridge=True, tbf=True, netem=False)
    privileges = dict.fromkeys(("cap_net_admin", "cap_net_raw", "cap_sys_admin"), True)
    return dataclasses.replace(able, features=features, **(privileges | differences))


class Experiment:
    """Takes the place of harness.experiment and keeps what the command line hands over."""

    def __init__(self, monkeypatch, outcome=None):
        self.calls = []
        self.outcome = outcome
        import_module("harness.calibrate.for_runs")  # whoever imports from the real one does so before
        monkeypatch.setitem(sys.modules, "harness.experiment", SimpleNamespace(run_experiment=self.run))

    def run(self, profile, plan, options, calibrate):
        self.calls.append((profile, plan, options))
        self.calibration = calibrate.args
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return SimpleNamespace(exit_code=self.outcome or 0, path=Path("results/x"), summary={"lost": 0}, tasks=[])


@pytest.fixture
def able(monkeypatch):
    host = facts_of_a_host()
    monkeypatch.setattr(facts, "gather_facts", lambda: host)


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from harness.cli import invoke; invoke(['--help']);"
        "heavy = {'numba', 'numpy', 'scipy', 'pyroute2', 'pydantic', 'rich'};"
        "print(sorted({m.split('.')[0] for m in sys.modules} & heavy))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "Commands:" in output
    assert output.splitlines()[-1] == "[]"


def test_the_module_can_be_run():
    done = subprocess.run([sys.executable, "-m", "harness", "version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"harness {__version__}\n"


def test_dry_run_prints_the_plan_and_runs_nothing(monkeypatch, capsys):
    experiment = Experiment(monkeypatch)
    assert cli.invoke(["run", SMOKE, "--dry-run", "--set", "load.rate=40M"]) == 0
    output = capsys.readouterr().out
    assert "40.2 Mbit/s both directions together" in output
    assert re.search(r"^backend +(delay_line|netem): the kernel ", output, re.MULTILINE)
    assert experiment.calls == []


def test_dry_run_as_json_holds_effective_profile_and_plan(capsys):
    assert cli.invoke(["run", SMOKE, "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["profile"]["load"]["rate"] == "20Mbit"
    assert document["plan"]["requests_per_s"] == 10_000_000 // 4096


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", SMOKE, "--set", "load.rat=1M"], "--set: load.rat: unknown key; did you mean load.rate?"),
        (["run", SMOKE, "--set", "load.rate=-1M"], "--set: load.rate: '-1M' is negative"),
        (["run", SMOKE, "--set", "vnf.image=nta"], "--set: vnf.image: unknown image 'nta'; did you mean nat?"),
        (["run", SMOKE, "--set", "migration.modes=['fast']"], "--set: migration.modes[0]: unknown mode 'fast'"),
        (["run", str(PROFILES / "smok.toml")], "did you mean smoke.toml?"),
        (["run"], "Missing argument 'PROFILE'"),
        (["run", SMOKE, "--sett", "x"], "No such option"),
        (["walk"], "No such command 'walk'"),
        (["show", "no/such/run"], "no/such/run: not a directory"),
    ],
)
def test_mistakes_of_the_user_are_one_line_and_exit_2(able, monkeypatch, capsys, arguments, expected):
    experiment = Experiment(monkeypatch)
    assert cli.invoke(arguments) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("harness: error: ")
    assert expected in line
    assert captured.out == ""
    assert experiment.calls == []


def test_several_mistakes_are_several_lines(capsys):
    assert cli.invoke(["run", SMOKE, "--set", "load.flows=0", "--set", "timing.late=0s"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("harness: error: --set: ") for line in lines)


@pytest.mark.parametrize("lacking", ["cap_net_admin", "cap_net_raw", "cap_sys_admin"])
def test_without_privileges_nothing_is_run(monkeypatch, capsys, lacking):
    host = facts_of_a_host(**{lacking: False})
    monkeypatch.setattr(facts, "gather_facts", lambda: host)
    experiment = Experiment(monkeypatch)
    assert cli.invoke(["run", SMOKE]) == 4
    assert lacking.upper() in capsys.readouterr().err
    assert experiment.calls == []


def test_without_root_the_testbed_cannot_be_kept(monkeypatch, capsys):
    host = facts_of_a_host(rootless=True)
    monkeypatch.setattr(facts, "gather_facts", lambda: host)
    experiment = Experiment(monkeypatch)
    assert cli.invoke(["run", SMOKE, "--keep"]) == 2
    assert "--keep: what is made without root ends with the command" in capsys.readouterr().err
    assert cli.invoke(["run", SMOKE]) == 0
    assert len(experiment.calls) == 1


def test_options_reach_the_experiment(able, monkeypatch, capsys, tmp_path):
    experiment = Experiment(monkeypatch)
    arguments = ["run", SMOKE, "--keep", "--check", "--diff", "--json", "--results", str(tmp_path / "r")]
    of_tasks = ["--tags", "a,b", "--tags", "c", "--skip-tags", "d"]
    assert cli.invoke([*arguments, *of_tasks, "--calibration", "fresh"]) == 0
    assert experiment.calibration == ("fresh",)
    ((profile, plan, options),) = experiment.calls
    assert isinstance(profile, Profile)
    assert isinstance(plan, Plan)
    assert (options.keep, options.check, options.diff, options.json) == (True, True, True, True)
    assert (options.tags, options.skip_tags) == (("a", "b", "c"), ("d",))
    assert options.inventory == Path(SMOKE).parent / "hosts.toml"
    assert options.results == tmp_path / "r"
    assert options.profile_text == Path(SMOKE).read_text()
    told = json.loads(capsys.readouterr().out)
    assert told == {"exit_code": 0, "path": "results/x", "summary": {"lost": 0}, "tasks": []}


def test_results_folder_comes_from_the_profile_unless_given(able, monkeypatch):
    experiment = Experiment(monkeypatch)
    assert cli.invoke(["run", SMOKE, "--set", "record.results=elsewhere"]) == 0
    assert experiment.calls[0][2].results == Path("elsewhere")
    assert experiment.calibration == ("cached",)
    assert not experiment.calls[0][2].keep


@pytest.mark.parametrize(
    ("outcome", "exit_code"),
    [
        (0, 0),
        (1, 1),
        (RunFailed("lost 3 packets"), 1),
        (LimitExceeded("loss above 0"), 3),
        (MachineError("no tbf"), 4),
        (CleanupError("netns x remains"), 5),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(able, monkeypatch, capsys, outcome, exit_code):
    Experiment(monkeypatch, outcome)
    assert cli.invoke(["run", SMOKE]) == exit_code
    errors = capsys.readouterr().err.strip().splitlines()
    if isinstance(outcome, Exception):
        assert errors == [f"harness: error: {outcome}"]
    if isinstance(outcome, KeyboardInterrupt):
        assert errors == ["harness: error: interrupted"]


def test_debug_shows_the_traceback(able, monkeypatch, capsys):
    Experiment(monkeypatch, RunFailed("lost 3 packets"))
    assert cli.invoke(["--debug", "run", SMOKE]) == 1
    errors = capsys.readouterr().err
    assert "Traceback" in errors
    assert errors.endswith("harness: error: lost 3 packets\n")


def test_clean_on_a_clean_machine_removes_nothing(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("SLIM_HARNESS_STATE", str(tmp_path / "state"))
    assert cli.invoke(["clean", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": []}
    assert not (tmp_path / "state").exists()


def test_code_that_does_not_compile_is_one_line(monkeypatch, capsys, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "image.toml").write_text('name = "broken"\nversion = "1"\n')
    (broken / "program.py").write_text("import nothing_of_that_name\n")
    monkeypatch.setattr("harness.doctor.cache.known_images", lambda: {"broken": broken})
    assert cli.invoke(["doctor", "--warm-cache"]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert "does not compile" in line
    assert "nothing_of_that_name" in line
