"""apt-get, so that dpkg is never broken off at its work: what it has unpacked and not configured nobody can use."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from itertools import pairwise
from typing import IO

from harness.errors import DeadlineExceeded, HarnessError, MachineError

OUTPUT_BYTES_MAX = 64 << 10
"""What is kept of what it prints, from the beginning and from the end."""
_LOCK_S = 60
"""Somebody else may be installing."""
END_S = 60.0
"""For dpkg to finish what it is at, once it shall end."""
_OPTIONS = (
    "-y",
    "-q",
    "-o",
    f"DPkg::Lock::Timeout={_LOCK_S}",
    # Nobody is there to be asked about a configuration file that is left from before.
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Options::=--force-confold",
)
_OUTDATED = ("Unable to locate package", "has no installation candidate", "Unable to fetch some archives")
"""What apt-get says where its lists of packages are empty or old."""


class AptGet:
    """One use of apt-get. `break_off` may come from another thread."""

    def __init__(self) -> None:
        self.output = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._broken_off = threading.Event()

    def install(self, names: list[str], deadline_s: float) -> None:
        """Install packages; the lists of packages are renewed where they are empty or too old for these. HarnessError
        with apt's own words, DeadlineExceeded, MachineError where there is no apt-get."""
        ends_s = time.monotonic() + deadline_s
        words = ("install", "--no-install-recommends", "--", *names)
        status, said = self._run(ends_s, *words)
        if status and any(words in said for words in _OUTDATED):
            _, renewed = self._run(ends_s, "update")
            status, said = self._run(ends_s, *words)
            said += renewed
        if status:
            raise HarnessError(f"apt-get cannot install {' '.join(names)}: {_reason(said, status)}")

    def break_off(self) -> None:
        """End a download at once; what dpkg is at comes to its end first."""
        self._broken_off.set()
        if (process := self._process) is not None:
            process.send_signal(signal.SIGINT)

    def _run(self, ends_s: float, *words: str) -> tuple[int, str]:
        if shutil.which("apt-get") is None:
            raise MachineError("no apt-get on this host: packages are those of Debian and its kin")
        environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        with tempfile.TemporaryFile() as printed:
            # A file and a session of its own: neither an interruption at the terminal nor the end of whoever has
            # started it comes upon dpkg at its work.
            process = self._process = subprocess.Popen(
                ["apt-get", *_OPTIONS, *words],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
            try:
                if self._broken_off.is_set():
                    process.send_signal(signal.SIGINT)
                status = process.wait(max(0.0, ends_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                _end(process)
                raise DeadlineExceeded(f"apt-get {words[0]}: not done in time{_last(_tail(printed))}") from None
            finally:
                self._process = None
                self.output = (self.output + _head(printed))[:OUTPUT_BYTES_MAX]
            if self._broken_off.is_set():
                raise HarnessError(f"apt-get {words[0]}: was broken off")
            return status, _tail(printed)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _head(printed: IO[bytes]) -> str:
    return os.pread(printed.fileno(), OUTPUT_BYTES_MAX, 0).decode(errors="replace")


def _tail(printed: IO[bytes]) -> str:
    start = max(0, os.fstat(printed.fileno()).st_size - OUTPUT_BYTES_MAX)
    return os.pread(printed.fileno(), OUTPUT_BYTES_MAX, start).decode(errors="replace")


def _reason(said: str, status: int) -> str:
    """apt's first error, with what lies behind it: a script of a package that failed, a list that could not be had."""
    lines = said.splitlines()
    errors = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")]
    behind = [
        f"{line.removeprefix('dpkg: ').rstrip(':')}: {after.strip()}"
        for line, after in pairwise(lines)
        if line.startswith("dpkg: error")
    ]
    behind += [line[3:] for line in lines if line.startswith(("E: Failed to fetch", "W: Failed to fetch"))]
    return _printable("; ".join(dict.fromkeys([*errors[:1], *behind[:1]])) or f"exit status {status}")


def _last(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return f" ({_printable(lines[-1])})" if lines else ""


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text.strip())[:400]
