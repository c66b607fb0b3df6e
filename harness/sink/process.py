"""The sink process: follows the points of the run under way and delivers those of runs that are complete.

Its standard input has a JSON object per line: {"growing": folder} when a run begins to write its points, {"complete":
folder} when it has. A process of its own, because a run shall not notice it: it has its own interpreter lock and
memory, it runs only on CPU time that nobody else wants, and whatever becomes of it, files are all it writes. It ends
when its input ends, at the latest DEADLINE_S after that, so also when the harness was killed. The last line it prints
is what it could not do.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.sink.deliver import Delivery, Server
from harness.sink.target import CA_VARIABLE, Target, make_target, read_token

DEADLINE_S = 15.0
"""From the end of the input to the end of the process."""
POLL_S = 0.25
"""Between two looks at a file that grows."""
REST_POLLS = 12
"""Looks that are left out after one that could not be delivered: a server that is down is not asked all the time."""


@dataclass(frozen=True)
class Told:
    """A line of the input."""

    folder: Path
    growing: bool


def follow(commands: Iterable[Told | None], target: Target, connect: Callable[[], Server]) -> str:
    """Deliver what is new of the folder that grows at every look (None), and every complete folder when it comes; what
    failed is tried again before anything that follows, at looks further apart, and once at the end.

    Returns why something is not delivered, empty where all is.
    """
    complete: list[Path] = []
    growing: Path | None = None
    server: Server | None = None
    problem, rest = "", 0
    for told in commands:
        if server is None:
            server = connect()
        if told is None:
            if rest:
                rest -= 1
                continue
            problem = _deliver(complete, target, server)
            if not problem and growing is not None:
                problem = _deliver([growing], target, server)
            rest = REST_POLLS if problem else 0
            continue
        if told.growing:
            growing = told.folder
            continue
        growing, rest = None, 0
        complete.append(told.folder)
        problem = _deliver(complete, target, server)
    if growing is not None and growing not in complete:
        complete.append(growing)
    return _deliver(complete, target, server) if complete and server is not None else problem


def _deliver(pending: list[Path], target: Target, server: Server) -> str:
    """Deliver and remove from `pending` until one fails; returns why that one did."""
    while pending:
        try:
            Delivery(pending[0], target, server).carry_out()
        except HarnessError as error:
            return str(error)
        except OSError as error:
            return f"{error.filename or pending[0]}: {error.strerror or error}"
        del pending[0]
    return ""


def main(arguments: list[str]) -> int:
    """Of the process; arguments are the URL, organisation and bucket. Exit code 1: something is not delivered."""
    _give_way()
    url, org, bucket = arguments
    target = make_target(url, org, bucket, "the sink process")

    def connect() -> Server:
        from harness.sink.server import InfluxServer

        return InfluxServer(target, read_token(os.environ), os.environ.get(CA_VARIABLE))

    problem = follow(_commands(), target, connect)
    if problem:
        print(problem, flush=True)  # noqa: T201
    return 1 if problem else 0


def _give_way() -> None:
    """Only CPU time that nobody else wants; deaf to the keyboard, because the harness decides what ends."""
    os.nice(19)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _commands() -> Iterator[Told | None]:
    """Lines as they come in, None whenever none has for POLL_S. A thread reads them, so that the pipe never fills while
    a server is slow."""
    received: queue.SimpleQueue[Told | None] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            ((what, folder),) = json.loads(line).items()
            received.put(Told(Path(folder), what == "growing"))
        received.put(None)
        time.sleep(DEADLINE_S)
        os._exit(1)

    threading.Thread(target=read, name="input", daemon=True).start()
    while True:
        try:
            told = received.get(timeout=POLL_S)
        except queue.Empty:
            yield None
            continue
        if told is None:
            return
        yield told


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
