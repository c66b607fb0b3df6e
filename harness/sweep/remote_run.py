"""One run of a sweep on the host this is executed on, and its result as one archive.

`carry_out` is what a worker is asked to do. It starts `python -m harness.sweep.remote_run FOLDER` for the run itself,
which reads what to run from its standard input and ends, testbed removed, when that ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.provision.scratch import scratch_directory
from harness.remote.wheel import code_digest
from harness.sweep.archive import packed

SLACK_S = 120.0
"""Of a run's deadline: what it may take beside its load."""
END_S = 20.0
_READ_S = 10.0

_lock = threading.Lock()
_under_way: set[subprocess.Popen[bytes]] = set()
_closed = False


def carry_out(request: Mapping[str, Any]) -> dict[str, Any]:
    """Make one run: {"archive": bytes} of its experiment directory, or {"error": one line}.

    request: "digest" (of the code, harness.remote.wheel), "profile" (effective, as data), "mode", "repetition", "cell",
    "sweep" (its name), "keep", "calibration" ("cached" or "off"), "deadline_s".
    """
    if request["digest"] != code_digest():
        return {"error": f"runs other code ({code_digest()}, the sweep's is {request['digest']!s:.16})"}
    try:
        with scratch_directory("run") as folder:
            return _made(request, folder)
    except OSError as error:
        return {"error": f"{error.filename or 'the result'}: {error.strerror or error}"[:300]}


def end_runs() -> None:
    """End what is under way in this process, each run with its testbed, and begin nothing more."""
    global _closed
    with _lock:
        _closed = True
        runs = list(_under_way)
    for process in runs:
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
    for process in runs:
        _end(process)


def _made(request: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    command = [sys.executable, *(["-I"] if sys.flags.isolated else []), "-m", "harness.sweep.remote_run", str(folder)]
    with _lock:
        if _closed:
            return {"error": "the worker is ending"}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        _under_way.add(process)
    try:
        status, answer, errors = _wait(process, json.dumps(dict(request)).encode(), float(request["deadline_s"]))
    finally:
        _under_way.discard(process)
    if status is None:
        return {"error": f"the run did not end within {request['deadline_s']:g} s and was ended"}
    try:
        name = str(json.loads(answer)["directory"])
    except (ValueError, KeyError, TypeError):
        said = errors.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        return {"error": f"exit status {status}: {said[0][:300]}"}
    return {"archive": packed(folder, name)}


def _wait(process: subprocess.Popen[bytes], request: bytes, deadline_s: float) -> tuple[int | None, bytes, bytes]:
    """(exit status, output, errors); its input stays open while it runs. None: it had to be ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    kept: dict[str, bytes] = {}

    def read(name: str, stream: Any) -> None:
        kept[name] = stream.read()

    streams = (("output", process.stdout), ("errors", process.stderr))
    readers = [threading.Thread(target=read, args=pair, daemon=True) for pair in streams]
    for reader in readers:
        reader.start()
    with contextlib.suppress(OSError, ValueError):  # it has ended already, or is being ended: its status says so
        process.stdin.write(request + b"\n")
        process.stdin.flush()
    status: int | None = None
    try:
        status = process.wait(deadline_s)
    except subprocess.TimeoutExpired:
        _end(process)
    for reader in readers:
        reader.join(_READ_S)
    with contextlib.suppress(OSError):
        process.stdin.close()
    return status, kept.get("output", b""), kept.get("errors", b"")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its input first, so that it removes its testbed, the hard way after that."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main(arguments: list[str]) -> int:
    """Read the request, make the run below the folder given, print {"directory": name}."""
    from harness.calibrate.for_runs import calibration_of_links
    from harness.experiment.experiment import process_template
    from harness.profile.load import parse_profile
    from harness.provision.interrupt import interruptible
    from harness.record.rundir import SUMMARY
    from harness.record.summary import RunSummary, read_summary
    from harness.sweep.matrix import Cell
    from harness.sweep.order import SweepRun
    from harness.sweep.single import run_function
    from harness.sweep.store import remove_bulk

    request = json.loads(sys.stdin.readline())
    try:
        with interruptible():
            threading.Thread(target=_watch_input, daemon=True).start()
            profile = parse_profile(request["profile"], source="cell")
            cell = Cell(request["cell"], profile, profile, {})
            run = SweepRun(request["cell"], request["mode"], request["repetition"])
            calibrate = partial(calibration_of_links, request["calibration"])  # each host knows its own links
            with process_template() as template:
                make = run_function(request["sweep"], ["sweep"], template, calibrate=calibrate)
                folder = make(cell, run, Path(arguments[0]))
    except HarnessError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    if request["keep"] == "figures" and read_summary(folder / SUMMARY, RunSummary).validity.verdict == "VALID":
        remove_bulk(folder)
    sys.stdout.write(json.dumps({"directory": folder.parent.name}))
    return 0


def _watch_input() -> None:
    os.read(0, 1)  # nothing more is sent: this is its end
    os.kill(os.getpid(), signal.SIGTERM)  # in the main thread it becomes the interruption that tears everything down


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
