"""Competes for a CPU, for a while, when it is told to: `python -m <this module>`.

Configuration (first line of standard input): {"share", "duration_ns", "nice", "is_fifo"}. Commands: "start". Events:
"ready", "started", "done" {"cpu_ns"}. It ends at the end of its input, at once; when its time is over it is idle, and
the kernel ends it by SIGALRM and SIGXCPU if it is not.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any

PERIOD_NS = 10_000_000
"""It computes `share` of each period: short enough for every dataplane's tick to meet it."""
_SPARE_S = 2


@dataclass(frozen=True)
class Task:
    """The configuration."""

    share: float
    duration_ns: int
    nice: int
    is_fifo: bool


def emit(event: str, **fields: Any) -> None:
    """Write one event line."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def take_priority(task: Task) -> None:
    """OSError where that is not permitted."""
    if task.is_fifo:
        lowest = os.sched_get_priority_min(os.SCHED_FIFO)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(lowest))
    elif task.nice:
        os.setpriority(os.PRIO_PROCESS, 0, task.nice)


def compete(task: Task) -> int:
    """Compute and pause until the time is over or the input has ended; returns the CPU time taken."""
    end_ns = time.monotonic_ns() + task.duration_ns
    before_ns = time.process_time_ns()
    while (now_ns := time.monotonic_ns()) < end_ns:
        busy_until_ns = min(end_ns, now_ns + round(task.share * PERIOD_NS))
        while time.monotonic_ns() < busy_until_ns:
            pass
        left_ns = min(end_ns, now_ns + PERIOD_NS) - time.monotonic_ns()
        if _input_ended(max(0, left_ns) / 1e9):
            break
    return time.process_time_ns() - before_ns


def _input_ended(timeout_s: float) -> bool:
    """Wait for the end of the input, for so long."""
    until = time.monotonic() + timeout_s
    readable, _, _ = select.select([0], [], [], timeout_s)
    if readable and not os.read(0, 4096):
        return True
    time.sleep(max(0.0, until - time.monotonic()) if readable else 0.0)
    return False


def main() -> int:
    """Entry point."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    task = Task(**json.loads(_line()))
    try:
        take_priority(task)
    except OSError as error:
        emit("error", message=f"CPU contention: nice {task.nice} or SCHED_FIFO not permitted ({error.strerror})")
        return 1
    emit("ready")
    if not _line():
        return 0
    seconds = task.duration_ns // 1_000_000_000 + _SPARE_S
    most = seconds + int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (most, most))
    signal.alarm(seconds)
    emit("started")
    emit("done", cpu_ns=compete(task))
    signal.alarm(0)
    while _line():
        pass
    return 0


def _line() -> bytes:
    """The next line of the input; empty at its end."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return b""
        line += byte
    return bytes(line)


if __name__ == "__main__":
    sys.exit(main())
