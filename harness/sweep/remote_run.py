"""One run of a sweep on the host this is executed on, and its result as one archive.

`carry_out` is what a worker is asked to do. It starts `python -m harness.sweep.remote_run FOLDER` for the run itself,
which reads what to run from its standard input and ends, testbed removed, when that ends.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

STARTED: set[subprocess.Popen[bytes]] = set()
"""Runs under way in this process; whoever ends it closes their input first."""
SLACK_S = 120.0


def carry_out(request: Mapping[str, Any]) -> dict[str, Any]:
    """Make one run: {"archive": bytes} of its experiment directory, or {"error": one line}.

    request: "profile" (effective, as data), "mode", "repetition", "cell", "sweep" (its name), "keep", "deadline_s".
    """
    with tempfile.TemporaryDirectory(prefix="slim-harness-run-") as folder:
        command = [sys.executable, *(["-I"] if sys.flags.isolated else []), "-m", "harness.sweep.remote_run", folder]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        STARTED.add(process)
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(dict(request)).encode() + b"\n")
            process.stdin.flush()
            status, answer, errors = _wait(process, float(request["deadline_s"]))
        finally:
            STARTED.discard(process)
        if status is None:
            return {"error": f"the run did not end within {request['deadline_s']:g} s and was ended"}
        try:
            name = json.loads(answer)["directory"]
        except (ValueError, KeyError, TypeError):
            said = errors.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            return {"error": f"exit status {status}: {said[0][:300]}"}
        return {"archive": packed(Path(folder), name)}


def _wait(process: subprocess.Popen[bytes], deadline_s: float) -> tuple[int | None, bytes, bytes]:
    """(exit status, output, errors); its input stays open while it runs. None: it had to be ended."""
    assert process.stdout is not None
    assert process.stderr is not None
    kept: dict[str, bytes] = {}

    def read(name: str, stream: Any) -> None:
        kept[name] = stream.read()

    readers = [
        threading.Thread(target=read, args=pair) for pair in (("output", process.stdout), ("errors", process.stderr))
    ]
    for reader in readers:
        reader.start()
    status: int | None = None
    try:
        status = process.wait(deadline_s)
    except subprocess.TimeoutExpired:
        end(process)
    for reader in readers:
        reader.join(10.0)
    if process.stdin is not None:
        process.stdin.close()
    return status, kept.get("output", b""), kept.get("errors", b"")


def end(process: subprocess.Popen[bytes], patience_s: float = 20.0) -> None:
    """End a run: its input first, so that it removes its testbed, the hard way after that."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(patience_s)


def packed(folder: Path, name: str) -> bytes:
    """A directory below `folder` as a compressed tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        tar.add(folder / name, name)
    return buffer.getvalue()


def main(arguments: list[str]) -> int:
    """Read the request, make the run below the folder given, print {"directory": name}."""
    from harness.calibrate.for_runs import calibration_of_links
    from harness.profile.load import parse_profile
    from harness.provision.interrupt import interruptible
    from harness.sweep.matrix import Cell
    from harness.sweep.order import SweepRun
    from harness.sweep.single import run_function
    from harness.sweep.store import remove_bulk

    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_watch_input, daemon=True).start()
    try:
        with interruptible():
            profile = parse_profile(request["profile"], source="cell")
            cell = Cell(request["cell"], profile, profile, {})
            run = SweepRun(request["cell"], request["mode"], request["repetition"])
            calibrate = partial(calibration_of_links, "cached")  # each host knows its own links
            folder = run_function(request["sweep"], ["sweep"], calibrate=calibrate)(cell, run, Path(arguments[0]))
    except HarnessError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    if request["keep"] == "figures":
        remove_bulk(folder)
    sys.stdout.write(json.dumps({"directory": folder.parent.name}))
    return 0


def _watch_input() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)  # in the main thread it becomes the interruption that tears everything down


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
