"""The sink process: takes folders of runs from its standard input, one JSON string per line, and delivers each.

A process of its own, because a run shall not notice it: it has its own interpreter lock and memory, it runs only on
CPU time that nobody else wants, and whatever becomes of it, files are all it writes. It ends when its input ends, at
the latest DEADLINE_S after that, so also when the harness was killed. The last line it prints is what it could not do.
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
from pathlib import Path

from harness.errors import HarnessError
from harness.sink.deliver import Delivery, Server
from harness.sink.target import CA_VARIABLE, Target, make_target, read_token

DEADLINE_S = 15.0
"""From the end of the input to the end of the process."""


def follow(folders: Iterable[Path], target: Target, connect: Callable[[], Server]) -> str:
    """Deliver every folder when it comes; what failed is tried again before the next, and once at the end.

    Returns why something is not delivered, empty where all is.
    """
    pending: list[Path] = []
    server: Server | None = None
    problem = ""
    for folder in folders:
        pending.append(folder)
        if server is None:
            server = connect()
        problem = _deliver(pending, target, server)
    return _deliver(pending, target, server) if pending and server is not None else problem


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

    problem = follow(_folders(), target, connect)
    if problem:
        print(problem, flush=True)  # noqa: T201
    return 1 if problem else 0


def _give_way() -> None:
    """Only CPU time that nobody else wants; deaf to the keyboard, because the harness decides what ends."""
    os.nice(19)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _folders() -> Iterator[Path]:
    """Folders as they come in. A thread reads them, so that the pipe never fills while a server is slow."""
    received: queue.SimpleQueue[Path | None] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            received.put(Path(json.loads(line)))
        received.put(None)
        time.sleep(DEADLINE_S)
        os._exit(1)

    threading.Thread(target=read, name="folders", daemon=True).start()
    while (folder := received.get()) is not None:
        yield folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
