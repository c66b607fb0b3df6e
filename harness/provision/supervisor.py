"""Runs one foreign program in the namespace of a node and leaves nothing of it behind: `python -m <this module>`.

Configuration (first line of standard input): {"argv", "output", "output_bytes_max", "starts_at_once", "awaits_port"}.
Commands: "start", and "stop", which ends the program. Events: "ready" (with `awaits_port`: the program has opened a TCP
or UDP port of this namespace); "ended" {"exit_status", "started_ns", "duration_ns", "output_bytes", "stopped"}.
The end of the input ends everything. What the program started goes with it, in whatever session or group it is.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import Any

import psutil

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LOOK_S = 0.01
_GRACE_S = 0.3
_KILLED_WITHIN_S = 2.0
_READ_BYTES = 65_536
_TCP_LISTENS = "0A"
_libc = ctypes.CDLL(None, use_errno=True)


def open_ports(net: Path = Path("/proc/self/net")) -> set[tuple[str, str, str]]:
    """(protocol, local end, inode) of every TCP socket that listens and every UDP socket of this namespace."""
    found = set()
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        try:
            lines = (net / protocol).read_text().splitlines()[1:]
        except OSError:  # a kernel without IPv6
            continue
        for columns in (line.split() for line in lines):
            if protocol.startswith("udp") or columns[3] == _TCP_LISTENS:
                found.add((protocol, columns[1], columns[9]))
    return found


def own_sockets() -> set[str]:
    """Inodes of the sockets of everything this process has started, as far as this user may look into it."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    kind, _, inode = str(descriptor.readlink()).partition(":")
                    if kind == "socket":
                        found.add(inode.strip("[]"))
    return found


def emit(event: str, **fields: Any) -> None:
    """Write one event line."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


@dataclass(frozen=True)
class Task:
    """The configuration."""

    argv: list[str]
    output: str
    output_bytes_max: int
    starts_at_once: bool
    awaits_port: bool


class Supervisor:
    """One program from its start to the end of all it has started."""

    def __init__(self, task: Task, log: RawIOBase) -> None:
        self._task, self._log = task, log
        self._selector = selectors.DefaultSelector()
        self._program: subprocess.Popen[bytes] | None = None
        self._end_descriptor = -1
        self._before: set[tuple[str, str, str]] = set()
        self._started_ns = self._written_bytes = self._output_bytes = 0
        self._announced = self._stopped = self._input_ended = False
        self._commands = b""

    def run(self) -> None:
        """Until the end of the input."""
        self._selector.register(0, selectors.EVENT_READ, self._read_commands)
        if self._task.starts_at_once:
            self._start()
        if not self._task.awaits_port:
            self._announce()
        while not self._input_ended:
            awaits_port = self._program is not None and not self._announced
            for key, _ in self._selector.select(_LOOK_S if awaits_port else None):
                if key.fd in self._selector.get_map():  # an event before it may have ended the program
                    key.data()
            if self._program is not None and not self._announced and self._has_a_port():
                self._announce()
        self._end()

    def _has_a_port(self) -> bool:
        """Whether a port that was not open before is the program's: others may share its namespace."""
        opened = open_ports() - self._before
        return bool(opened) and not own_sockets().isdisjoint(inode for _, _, inode in opened)

    def _announce(self) -> None:
        self._announced = True
        emit("ready")

    def _start(self) -> None:
        self._before = open_ports()
        self._started_ns = time.monotonic_ns()
        try:
            # A group of its own, and gone with this process even if that is killed.
            self._program = subprocess.Popen(
                self._task.argv,
                bufsize=0,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
            )
        except OSError as error:
            emit("error", message=f"{self._task.argv[0]}: does not start ({error.strerror or error})")
            return
        assert self._program.stdout is not None
        os.set_blocking(self._program.stdout.fileno(), False)
        self._end_descriptor = os.pidfd_open(self._program.pid)
        self._selector.register(self._program.stdout.fileno(), selectors.EVENT_READ, self._read_output)
        self._selector.register(self._end_descriptor, selectors.EVENT_READ, self._end)

    def _read_commands(self) -> None:
        data = os.read(0, _READ_BYTES)
        self._input_ended = not data
        *lines, self._commands = (self._commands + data).split(b"\n")
        for line in lines:
            command = json.loads(line).get("cmd")
            if command == "start" and self._started_ns == 0:
                self._start()
            elif command == "stop":
                self._stopped = True
                self._end()

    def _read_output(self) -> bool:
        """Keep the beginning of the output and count all of it; False when there is none at present, or no more."""
        assert self._program is not None
        assert self._program.stdout is not None
        descriptor = self._program.stdout.fileno()
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._selector.unregister(descriptor)
            return False
        kept = data[: self._task.output_bytes_max - self._written_bytes]
        self._log.write(kept)
        self._written_bytes += len(kept)
        self._output_bytes += len(data)
        return True

    def _end(self) -> None:
        """End the program, if it has not ended, and whatever it has left; say so once."""
        program = self._program
        if program is None or program.stdout is None:
            return
        status = program.poll()
        duration_ns = time.monotonic_ns() - self._started_ns
        if status is None:
            _end_group(program)
        kill_descendants()
        descriptor = program.stdout.fileno()
        while descriptor in self._selector.get_map() and self._read_output():
            pass  # what was still in the pipe
        for each in (descriptor, self._end_descriptor):
            if each in self._selector.get_map():
                self._selector.unregister(each)
        program.stdout.close()
        os.close(self._end_descriptor)
        self._program = None
        if not self._announced:
            emit("error", message=f"{self._task.argv[0]}: ended (exit status {status}) before it had opened a port")
        emit(
            "ended",
            exit_status=status,
            started_ns=self._started_ns,
            duration_ns=duration_ns,
            output_bytes=self._output_bytes,
            stopped=self._stopped,
        )


def _end_group(program: subprocess.Popen[bytes]) -> None:
    for number, patience_s in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(patience_s)
            return


def kill_descendants() -> None:
    """Kill every process below this one. Whose parent has ended is a child of this one: it is their subreaper."""
    deadline = time.monotonic() + _KILLED_WITHIN_S
    while (children := psutil.Process().children(recursive=True)) and time.monotonic() < deadline:
        for child in children:
            with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                child.kill()
        psutil.wait_procs(children, timeout=_GRACE_S)


def _terminated(*_: object) -> None:
    kill_descendants()
    os._exit(1)


def main() -> int:
    """Entry point."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminated)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return 1
        line += byte
    task = Task(**json.loads(line))
    with Path(task.output).open("wb", buffering=0) as log:
        Supervisor(task, log).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
