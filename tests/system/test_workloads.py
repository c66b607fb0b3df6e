"""Captured traffic and programs of somebody else through a NAT that moves."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.system.conftest import Cli, Machine
from tests.system.traffic import CLIENT, CONNECTIONS, SEGMENTS, write_capture

pytestmark = [
    pytest.mark.timeout(240),
]

TIMING = {
    "timing__warm_up": "500ms",
    "timing__window": "2s",
    "timing__migrate_at": "500ms",
    "timing__load_until": "1500ms",
    "migration__filler": "256KiB",
}


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_capture(tmp_path_factory.mktemp("capture") / "traffic.pcap")


def run_one(cli: Cli, **overrides: object) -> tuple[Any, Path, str]:
    """Exit code aside, one run's summary, its folder and the output."""
    before = cli.directories()
    done = cli(*cli.run_arguments(**{**TIMING, **overrides}))
    output = done.stdout + done.stderr
    (directory,) = cli.directories() - before
    (folder,) = directory.glob("01-*")
    summary = json.loads((folder / "summary.json").read_text())
    assert done.returncode == (1 if summary["validity"]["verdict"] == "FAILED" else 0), output
    return summary, folder, output


def verdicts(summary: Any) -> dict[str, str]:
    return {invariant["name"]: invariant["verdict"] for invariant in summary["invariants"]}


ALWAYS = (
    "state equals the reference",
    "counters exact",
    "statelet sequence contiguous",
    "destination silent before it is active",
    "source silent after the drain",
)
WITH_LOAD = ("external mappings unchanged", "external mappings unique", "every loss has a named cause")


def test_the_flows_of_a_capture_survive_a_migration(cli: Cli, capture: Path, untouched: Machine) -> None:
    summary, folder, output = run_one(
        cli,
        load__workload="capture",
        load__capture__path=capture,
        load__capture__pace="capture",
        load__capture__speed=2.0,
        migration__modes='["statelet"]',
    )
    # INVALID is what a busy machine may make of it; a promise must hold on every machine.
    assert summary["validity"]["verdict"] in ("VALID", "INVALID"), output
    assert summary["migration"]["outcome"] == "completed"
    assert verdicts(summary) == dict.fromkeys((*ALWAYS, *WITH_LOAD), "holds")
    with np.load(folder / "loadgen.npz") as archive:
        records = {name: archive[name] for name in archive.files}
    assert (records["sent_ns"] > 0).all()
    assert (records["received_ns"] > 0).all(), summary["ledger"]
    sizes = set(records["frame_bytes"].tolist())
    assert sizes == {54, 54 + 600, 54 + 300, 42, 62, 82, 242}
    assert set(records["flow_protocol"].tolist()) == {6, 17}
    found = summary["capture"]
    assert found["repetitions"] >= 3
    assert found["packets"] == len(records["sent_ns"])
    assert found["response_packets"] == CONNECTIONS * (1 + SEGMENTS)
    assert found["opened_flows"] == 1
    short = int(np.count_nonzero(np.isin(records["frame_bytes"], (54, 42, 62))))
    assert found["unnumbered_packets"] == found["unnumbered_sent_packets"] == short
    assert found["unnumbered_returned_packets"] == short
    assert "capture: of these returned [packets]" in output
    refused = next(row for row in summary["ledger"]["rows"] if row["name"] == "vnf_refusal")
    assert refused["echo_packets"] == 0, "the NAT saw implausible TCP"


def test_a_capture_that_cannot_be_sent_changes_nothing(cli: Cli, tmp_path: Path, untouched: Machine) -> None:
    path = tmp_path / "broken.pcap"
    path.write_bytes(b"\xd4\xc3\xb2\xa1" + bytes(10))
    before = cli.directories()
    done = cli(*cli.run_arguments(load__workload="capture", load__capture__path=path))
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert f"load.capture.path: {path}: ends within the record" in line
    assert cli.directories() == before


def test_a_download_goes_on_while_the_nat_moves(cli: Cli, tmp_path: Path, untouched: Machine) -> None:
    content = random.Random(1).randbytes(300_000)
    served = tmp_path / "served"
    served.mkdir()
    (served / "content").write_bytes(content)
    summary, folder, output = run_one(
        cli,
        load__workload="command",
        load__command__client=json.dumps([sys.executable, "-c", CLIENT]),
        load__command__server=json.dumps([sys.executable, "-m", "http.server", "8000", "--directory", str(served)]),
        load__command__ready_within="60s",
        migration__modes='["statelet"]',
    )
    assert summary["validity"]["verdict"] in ("VALID", "INVALID"), output
    assert summary["migration"]["outcome"] == "completed"
    held = verdicts(summary)
    assert set(held.values()) == {"holds"}
    assert set(ALWAYS) - {"counters exact"} <= set(held) <= set(ALWAYS)
    assert (summary["window"], summary["total"], summary["ledger"]) == (None, None, None)
    command = summary["command"]
    assert (command["exit_status"], command["timed_out"]) == (0, False)
    assert command["duration_ns"] >= 2.5e9
    lines = (folder / "logs" / "client.out").read_text().split()
    assert set(lines) == {hashlib.sha256(content).hexdigest()}
    assert "GET /content" in (folder / "logs" / "server.out").read_text()
    assert "client: duration [s]" in output


def test_a_client_that_fails_or_never_ends_is_told(cli: Cli, untouched: Machine) -> None:
    arguments: dict[str, object] = {
        "load__workload": "command",
        "load__command__client": '["sh", "-c", "setsid sleep 600 & sleep 600"]',
        "load__command__deadline": "1500ms",
        "migration__modes": '["statelet"]',
    }
    summary, _, output = run_one(cli, **arguments)
    assert summary["validity"]["verdict"] == "FAILED", output
    assert any("client: had not ended" in reason for reason in summary["validity"]["reasons"])
    assert summary["migration"]["outcome"] == "completed"
    assert summary["command"]["timed_out"]


def test_a_missing_program_is_named_before_anything_is_made(cli: Cli, untouched: Machine) -> None:
    before = cli.directories()
    done = cli(*cli.run_arguments(load__workload="command", load__command__client='["nosuchprogram", "{server}"]'))
    assert done.returncode == 4
    assert "load.command.client: no program 'nosuchprogram'" in done.stderr.strip().splitlines()[-1]
    assert cli.directories() == before
