"""What a trial counts as without loss, from the files a load pair leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.bench.round_trip import judge

MS = 1_000_000


def leave(folder: Path, received_ns: list[int], intended_ns: list[int]) -> None:
    (folder / "loadgen.json").write_text(json.dumps({"kernel_dropped_packets": 3}))
    (folder / "echoserver.json").write_text(json.dumps({"kernel_dropped_packets": 4}))
    arrays = {"received_ns": np.array(received_ns, np.int64), "intended_ns": np.array(intended_ns, np.int64)}
    np.savez(folder / "loadgen.npz", **arrays)


@pytest.mark.parametrize(
    ("received_ms", "passed", "outcome"),
    [
        ([101, 201, 301, 402], True, "held"),
        ([101, 450, 301, 402], True, "held"),  # late, but neither lost nor at the end
        ([101, 201, 0, 402], False, "lost 1"),
        ([0, 0, 0, 0], False, "lost 4"),
        ([101, 201, 301, 451], False, "backlog of 51 ms"),
        ([101, 460, 301, 402], False, "backlog of 60 ms"),
    ],
)
def test_a_trial_passes_when_nothing_is_lost_and_nothing_piles_up(
    tmp_path: Path, received_ms: list[int], passed: bool, outcome: str
) -> None:
    leave(tmp_path, [t * MS for t in received_ms], [t * MS for t in (100, 200, 300, 400)])
    trial = judge(tmp_path, 10, 1_000 * MS)
    assert (trial.passed, trial.outcome) == (passed, outcome)
    assert (trial.loadgen_dropped_packets, trial.echoserver_dropped_packets) == (3, 4)
