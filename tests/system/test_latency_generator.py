"""Links that delay, lose, duplicate and reorder in user space: a migration whose every packet is accounted for.

Figures are counted again from the raw records, so that an error of the program's own accounting does not cancel out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.system.conftest import ROOT, Cli, Machine, changes

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.timeout(240),  # the first test waits for the whole experiment, and for the compiler before it
]

PROFILE = """
[profile]
name = "lossy"
[load]
rate = "12M"
flows = 16
server_packets_per_s = 100
[uplink]
latency_backend = "latency_generator"
[timing]
warm_up = "500ms"
window = "3s"
migrate_at = "700ms"
load_until = "2s"
[migration]
modes = ["statelet"]
filler = "64KiB"
[links.source.down]
loss = "1%"
ipdv = "0.5ms"
ipdv_distribution = "normal"
duplication = "5%"
[links.destination.up]
loss = "1%"
reordering = "5%"
[links.echoserver.up]
latency = "2ms"
loss = "0.5%"
[[impairment]]
at = "200ms"
for = "200ms"
link = "source"
direction = "up"
loss = "50%"
"""
LATENCY_MS = 4 * 2.5 + 2.0
WAIT_S = 15.0


@dataclass(frozen=True)
class Result:
    """What the experiment printed and left behind."""

    output: str
    folder: Path
    before: Machine
    after: Machine

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    def row(self, name: str) -> dict[str, int]:
        (found,) = [row for row in self.read("summary.json")["ledger"]["rows"] if row["name"] == name]
        return {kind: found[f"{kind}_packets"] for kind in ("echo", "server")}


@pytest.fixture(scope="module")
def result(cli: Cli, foreign_namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Result:
    profile = tmp_path_factory.mktemp("profile") / "lossy.toml"
    profile.write_text(PROFILE)
    before = cli.machine()
    done = cli("run", profile, "--results", cli.results)
    assert cli.directories(), done.stdout + done.stderr
    (directory,) = cli.directories()
    (folder,) = directory.glob("*-statelet")
    return Result(done.stdout + done.stderr, folder, before, cli.machine())


def test_the_migration_completes_and_keeps_every_promise(result: Result) -> None:
    summary = result.read("summary.json")
    assert summary["migration"]["outcome"] == "completed", result.output
    broken = [item for item in summary["invariants"] if item["verdict"] != "holds"]
    assert not broken, broken
    assert summary["validity"]["verdict"] != "FAILED", result.output
    assert summary["calibration"]["latency_backend"] == "latency_generator"


def test_every_packet_that_is_missing_was_lost_on_purpose(result: Result) -> None:
    assert result.row("unexplained") == {"echo": 0, "server": 0}
    with np.load(result.folder / "loadgen.npz", allow_pickle=False) as records:
        received_ns, server_received_ns = records["received_ns"], records["server_received_ns"]
        duplicates = int(records["duplicates"].sum()) + int(records["server_duplicates"].sum())
    others = [
        row
        for row in result.read("summary.json")["ledger"]["rows"]
        if row["name"] not in ("delivered", "late", "impairment")
    ]
    lost_otherwise = sum(row["echo_packets"] + row["server_packets"] for row in others)
    lost = np.count_nonzero(received_ns == 0) + np.count_nonzero(server_received_ns == 0)
    impaired = sum(result.row("impairment").values())
    assert impaired == lost - lost_otherwise
    assert impaired > 150, "half of all replies and requests for 200 ms, and some more"
    assert duplicates > 20


def test_the_round_trip_is_what_the_links_add_up_to(result: Result) -> None:
    with np.load(result.folder / "loadgen.npz", allow_pickle=False) as records:
        arrived = records["received_ns"] > 0
        rtt_ms = (records["received_ns"] - records["intended_ns"])[arrived] / 1e6
    assert LATENCY_MS - 0.2 < np.median(rtt_ms) < LATENCY_MS + 1.0
    # Draws of 0.5 ms standard deviation and skipped delays, beside what a busy machine adds to the upper end.
    assert np.quantile(rtt_ms, 0.01) < LATENCY_MS - 0.5


def test_conditions_change_while_frames_flow_and_change_back(result: Result) -> None:
    lines = [json.loads(line) for line in (result.folder / "events.jsonl").read_text().splitlines()]
    assert sum(line["phase"] == "impairment" for line in lines) >= 2
    window_ns = next(line["monotonic_ns"] for line in lines if line["phase"] == "window")
    with np.load(result.folder / "loadgen.npz", allow_pickle=False) as records:
        after_s = (records["intended_ns"] - window_ns) / 1e9
        lost = records["received_ns"] == 0
    for begin, end, least, most in ((0.22, 0.38, 0.5, 0.95), (-0.4, 0.18, 0.0, 0.1), (0.45, 0.7, 0.0, 0.1)):
        chosen = (after_s >= begin) & (after_s < end)
        assert least <= lost[chosen].mean() <= most, (begin, end)


def test_nothing_is_left_behind(result: Result) -> None:
    assert changes(result.before, result.after) == {}


# -- the process ------------------------------------------------------------------------------------------------------


def configuration(**changed: Any) -> bytes:
    link = {"node": "source", "outer": {"interface": "lo"}, "inner": {"interface": "lo"}}
    document = {"links": [link], "seed": 1, "scheduler": "other", "queue_packets": 64, **changed}
    return json.dumps(document).encode() + b"\n"


def start(line: bytes) -> subprocess.Popen[bytes]:
    """In a namespace of its own, whose only link is down."""
    process = subprocess.Popen(
        ["unshare", "--net", sys.executable, "-m", "harness.latency_generator"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()
    return process


def test_the_process_acknowledges_each_change_and_ends_in_order(warm: None) -> None:
    change = {"command": "conditions", "number": 4, "node": "source", "direction": "up", "conditions": {"loss": 1.0}}
    with start(configuration()) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "ready"
        for line in (change, {**change, "node": "loadgen"}, {**change, "conditions": {"corruption": 1}}):
            process.stdin.write(json.dumps(line).encode() + b"\n")
        process.stdin.write(b'what?\n{"command": "stop"}\n')
        process.stdin.flush()
        events = [json.loads(line) for line in process.stdout]
        assert process.wait(WAIT_S) == 0
    assert [event["event"] for event in events] == ["conditions", "error", "error", "error", "done"]
    assert events[0]["number"] == 4
    assert events[0]["applied_ns"] > 0
    assert "node 'loadgen': it stands at source" in events[1]["message"]


def test_the_end_of_standard_input_ends_the_process(warm: None) -> None:
    with start(configuration()) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "ready"
        process.stdin.close()
        assert process.wait(WAIT_S) == 3


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (configuration(colour="blue"), 2, "colour"),
        (configuration(links=[{"node": "a", "outer": {"interface": "x"}, "inner": {"interface": "lo"}}]), 4, "port x"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(warm: None, line: bytes, code: int, message: str) -> None:
    with start(line) as process:
        assert process.stdout is not None
        (event,) = [json.loads(said) for said in process.stdout]
        assert process.wait(WAIT_S) == code
    assert event["event"] == "error"
    assert message in event["message"]
