"""Imports point downward, programs the harness starts are never imported by it, and files stay short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("harness", "loadgen", "vnf_images")
LINES_MAX = 400

BASE = {"harness.errors", "harness.units", "harness.distributions"}
LOW = BASE | {"harness.dataplane", "harness.provision"}
# The instance runs in its namespace with nothing of the controller's side: no provisioning, no recording. Of the kernel
# interface it needs one call: entering a namespace.
INSTANCE = BASE | {"harness.dataplane", "harness.migration", "harness.provision.kernel"}
MIDDLE = LOW | {"harness.measure", "harness.record", "harness.migration", "harness.testbed"}
PROGRAM = BASE | {"harness.dataplane", "harness.measure.histogram"}

# What each part may import beside itself. A part that is not listed here fails the test: decide where it stands.
ALLOWED: dict[str, set[str]] = {
    "harness": set(),
    "harness.errors": set(),
    "harness.units": set(),
    "harness.distributions": set(),
    "harness.dataplane": BASE,
    "harness.provision": BASE,
    "harness.measure": LOW,
    "harness.record": LOW | {"harness.measure"},
    "harness.sink": BASE | {"harness.options", "harness.record"},
    "harness.migration": LOW,
    "harness.testbed": LOW | {"harness.migration", "harness.measure.host"},
    "harness.vei": INSTANCE,
    # Started in the namespaces like an instance, whose way to open ports it shares.
    "harness.latency_generator": BASE | {"harness.dataplane", "harness.vei"},
    "harness.report": BASE
    | {"harness.measure", "harness.record", "harness.models", "harness.bench.figures", "harness.bench.table"},
    "harness.models": BASE | {"harness.measure", "harness.record"},
    # Of a run with faults: what carries them out, what happened, what it may lead to. Runs import it, it knows no run.
    "harness.faults": MIDDLE,
    "harness.profile": MIDDLE | {"harness.sink.target", "harness.faults.schedule"},
    "harness.options": BASE,
    "harness.plan": MIDDLE | {"harness.profile"},
    "harness.experiment": MIDDLE
    | {"harness.faults", "harness.report", "harness.profile", "harness.plan", "harness.options", "harness.remote"},
    "harness.doctor": MIDDLE | {"harness.profile", "harness.plan"},
    "harness.calibrate": LOW
    | {"harness.measure", "harness.record", "harness.testbed"}
    | {"harness.profile", "harness.plan", "harness.experiment"},
    "harness.bench": MIDDLE | {"harness.report", "harness.profile", "harness.plan", "harness.experiment"},
    "harness.soak": MIDDLE
    | {"harness.faults", "harness.profile", "harness.plan", "harness.options", "harness.experiment"}
    | {"harness.doctor.cache"},
    "harness.sweep": MIDDLE
    | {"harness.profile", "harness.plan", "harness.options", "harness.experiment"}
    | {"harness.bench", "harness.calibrate", "harness.doctor.cache", "harness.sink", "harness.remote"},
    # Its agent builds and reads a part of a testbed on another host.
    "harness.remote": LOW | {"harness.profile", "harness.testbed", "harness.measure.host", "harness.doctor.cache"},
    "harness.cli": {"harness"},
    "harness.__main__": {"harness.cli"},
    "loadgen": PROGRAM,
    "vnf_images": PROGRAM,
}
# The package itself holds the version and nothing else.
EVERYONE = {"harness", "harness.__version__"}


def sources(root: Path) -> list[Path]:
    return sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))


def module_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, root: Path) -> Iterator[str]:
    """Dotted names of everything of ours a file imports, wherever in the file the import stands."""
    package = module_of(path, root).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (base, node.module)))
            names = [f"{origin}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in PACKAGES)


def part_of(module: str) -> str:
    """The unit of the design a module belongs to: a module or package directly below `harness`, or a program."""
    pieces = module.split(".")
    return pieces[0] if pieces[0] != "harness" else ".".join(pieces[:2])


def permitted(part: str, name: str) -> bool:
    inside = name == part or name.startswith(f"{part}.")
    below = any(name == allowed or name.startswith(f"{allowed}.") for allowed in ALLOWED[part])
    return (inside and part != "harness") or below or name in EVERYONE


def offences(root: Path) -> list[str]:
    found = []
    for path in sources(root):
        module = module_of(path, root)
        part = part_of(module)
        if part not in ALLOWED:
            found.append(f"{module} belongs to no known part")
            continue
        found += [f"{module} imports {name}" for name in imported(path, root) if not permitted(part, name)]
    return found


def test_imports_point_downward():
    assert offences(ROOT) == []


def test_everything_is_looked_at():
    parts = {part_of(module_of(path, ROOT)) for path in sources(ROOT)}
    assert {"harness.errors", "harness.units", "harness.dataplane", "harness.cli", "loadgen", "vnf_images"} <= parts


@pytest.mark.parametrize(
    ("file", "line", "offence"),
    [
        ("harness/units.py", "import harness.errors", "harness.units imports harness.errors"),
        ("harness/dataplane/x.py", "from harness import cli", "harness.dataplane.x imports harness.cli"),
        ("harness/dataplane/x.py", "from ..measure import y", "harness.dataplane.x imports harness.measure.y"),
        ("harness/cli.py", "def f():\n    import loadgen.generator", "harness.cli imports loadgen.generator"),
        ("harness/experiment.py", "from vnf_images import nat", "harness.experiment imports vnf_images.nat"),
        ("harness/vei/x.py", "import harness.provision.facts", "harness.vei.x imports harness.provision.facts"),
        ("harness/report/x.py", "import harness.testbed", "harness.report.x imports harness.testbed"),
        ("loadgen/x.py", "from harness.measure import ledger", "loadgen.x imports harness.measure.ledger"),
        ("vnf_images/nat/x.py", "import loadgen", "vnf_images.nat.x imports loadgen"),
        ("harness/new.py", "", "harness.new belongs to no known part"),
    ],
)
def test_an_offence_is_found(tmp_path, file, line, offence):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert offences(tmp_path) == [offence]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("harness/dataplane/x.py", "from .port import y\nfrom harness import errors, __version__"),
        ("loadgen/x.py", "from harness.measure.histogram import Histogram\nimport loadgen.wire, numpy"),
        ("vnf_images/nat/x.py", "from harness.dataplane.jit import compiled\nfrom vnf_images.nat import y"),
        ("harness/cli.py", "def f():\n    from harness.experiment import run_experiment"),
    ],
)
def test_what_the_design_permits_is_no_offence(tmp_path, file, line):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert offences(tmp_path) == []


def test_files_are_short():
    files = [*sources(ROOT), *(ROOT / "tests").rglob("*.py")]
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > LINES_MAX} == {}
