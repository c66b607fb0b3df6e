"""The process that competes for a CPU, started for real."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import pytest

from harness.experiment.impairments import CONTENTION_MODULE

WAIT_S = 20.0


@contextmanager
def contender(**changed: Any) -> Iterator[subprocess.Popen[bytes]]:
    configuration = {"share": 0.2, "duration_ns": 300_000_000, "nice": 0, "is_fifo": False, **changed}
    with subprocess.Popen(
        [sys.executable, "-m", CONTENTION_MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(configuration).encode() + b"\n")
            process.stdin.flush()
            yield process
        finally:
            process.kill()


def event(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def command(process: subprocess.Popen[bytes]) -> None:
    stream: IO[bytes] | None = process.stdin
    assert stream is not None
    stream.write(b'{"cmd": "start"}\n')
    stream.flush()


def test_it_takes_its_share_for_its_time_and_is_idle_then() -> None:
    with contender(nice=5) as process:
        assert event(process) == {"event": "ready"}
        command(process)
        assert event(process)["event"] == "started"
        begun = time.monotonic()
        done = event(process)
        assert done["event"] == "done"
        assert time.monotonic() - begun < WAIT_S
        # At most its share of 0.3 s; on a busy machine less.
        assert 0 < done["cpu_ns"] <= 0.5 * 300_000_000
        assert process.poll() is None
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(WAIT_S) == 0


def test_the_end_of_its_input_ends_it_in_the_middle() -> None:
    with contender(duration_ns=60_000_000_000, share=0.1) as process:
        event(process)
        command(process)
        event(process)
        assert process.stdin is not None
        process.stdin.close()
        assert event(process)["event"] == "done"
        assert process.wait(WAIT_S) == 0


@pytest.mark.parametrize("started", [False, True])
def test_it_does_nothing_before_it_is_told_to(started: bool) -> None:
    with contender(share=1.0) as process:
        assert event(process) == {"event": "ready"}
        assert process.stdin is not None
        if started:
            command(process)
            assert event(process)["event"] == "started"
        process.stdin.close()
        assert process.wait(WAIT_S) == 0
