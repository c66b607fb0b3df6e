"""`harness bench --quick --json` on real namespaces: everything is measured, plausible, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.bench.figures import BenchReport
from harness.provision.kernel import NETNS_DIRECTORY

TIMEOUT_S = 400.0
SIZES = (512, 1400)


class Bench:
    """The command as a user starts it, with a state directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.output = folder / "bench.json"
        argv = [sys.executable, "-m", "harness", "bench", "--quick", "--json", "--output", str(self.output)]
        environment = {**os.environ, "SLIM_HARNESS_STATE": str(self.state)}
        self._before = set(NETNS_DIRECTORY.glob("*"))
        self.process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
        )

    def left_behind(self) -> list[str]:
        """Namespaces made meanwhile that are still there and belong to a run of this state directory."""
        runs = [folder.name for folder in self.state.iterdir() if folder.is_dir()]
        return [*runs, *(p.name for p in set(NETNS_DIRECTORY.glob("*")) - self._before if p.name[:8] in runs)]

    def wait_until_told(self, text: str) -> None:
        """Read what it says until `text` is in a line; the test's timeout is the deadline."""
        assert self.process.stderr is not None
        said = []
        for line in self.process.stderr:
            said.append(line)
            if text in line:
                return
        pytest.fail(f"ended without {text!r}: {''.join(said)}")

    def end(self, timeout_s: float) -> tuple[int, str, str]:
        """Exit status, standard output, and the rest of what it said."""
        answer, errors = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, answer, errors

    def close(self) -> None:
        """End it where it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.communicate(timeout=60)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


@pytest.mark.timeout(TIMEOUT_S + 60)
def test_the_quick_bench_measures_everything_and_leaves_nothing(bench: Bench) -> None:
    status, answer, errors = bench.end(TIMEOUT_S)
    assert status == 0, errors
    document = json.loads(answer)
    assert json.loads(bench.output.read_text()) == document
    report = BenchReport.model_validate(document)
    assert report.quick
    figures = report.figures
    for name, figure in figures.items():
        assert figure.minimum >= 0, name
        assert figure.unit == "ns" or figure.median > 0, name
    for size in SIZES:
        trips, forwarding, generator = (
            figures[f"{name}_{size}B_per_s"].median for name in ("round_trips", "forwarding", "generator")
        )
        # A round trip passes the NAT twice and takes two more processes; the generator alone does least.
        assert 500 <= trips < generator
        assert trips < 2 * forwarding
        for kind in ("forwarding", "compute"):
            off, on, ratio = (
                figures[name]
                for name in (f"{kind}_off_{size}B_ns", f"{kind}_on_{size}B_ns", f"announcing_{kind}_{size}B_ratio")
            )
            assert off.count == on.count == ratio.count >= 5
            assert ratio.values == pytest.approx([a / b for a, b in zip(off.values, on.values, strict=True)])
            assert 0.2 < ratio.median < 2
        assert figures[f"compute_off_{size}B_ns"].median < figures[f"forwarding_off_{size}B_ns"].median
    plain, encrypted = (figures[f"state_stream_{kind}_bytes_per_s"] for kind in ("plain", "tls"))
    assert plain.median > 10e6
    assert encrypted.median > 5e6
    assert figures["state_stream_tls_ratio"].count == plain.count == encrypted.count
    assert figures["freeze_pause_ns"].count >= 20
    assert figures["freeze_pause_maximum_ns"].median == figures["freeze_pause_ns"].maximum > 0
    assert figures["start_to_ready_s"].minimum < figures["start_to_first_forwarded_s"].minimum
    for role in ("source", "destination", "loadgen", "echoserver", "controller"):
        assert 20e6 < figures[f"memory_peak_{role}_bytes"].median < 4e9
        assert figures[f"memory_resident_{role}_bytes"].maximum <= figures[f"memory_peak_{role}_bytes"].maximum
    assert {bound.figure for bound in report.bounds} <= set(figures)
    assert len(report.bounds) >= 10
    assert bench.left_behind() == []


@pytest.mark.timeout(300)
def test_an_interrupted_bench_tears_its_testbed_down(bench: Bench) -> None:
    bench.wait_until_told("bench: round trips")
    assert any(folder.is_dir() for folder in bench.state.iterdir())
    bench.process.send_signal(signal.SIGINT)
    status, _, errors = bench.end(60)
    assert status == 130, errors
    assert bench.left_behind() == []
    assert not bench.output.exists()


def test_an_output_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    output = tmp_path / "nowhere" / "bench.json"
    argv = [sys.executable, "-m", "harness", "bench", "--output", str(output)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "nowhere" in done.stderr.splitlines()[-1]
