"""Processes that start with their modules loaded: forked from one that loaded them once, instead of started anew.

Loading the packet path takes most of a second of CPU per process; with six processes a run and hundreds of runs on two
CPUs that is what a run otherwise spends its time on. Nothing is shared afterwards: a child is a process like every
other, with its own streams, session, namespace and (copied) memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Any, Self

from harness.errors import HarnessError
from harness.provision.connections.spawned import ProcessFailed

READY_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 10.0


class Template:
    """A context manager: the template lives within the block. Its methods may be called from any thread."""

    def __init__(self, modules: Sequence[str], prepared_with: Sequence[str] = ()) -> None:
        """modules: those that can be started, by their dotted names. prepared_with: what the `prepare` of those that
        have one is given before anything is forked: images of which the compiled code shall be loaded once.
        """
        self.modules = tuple(modules)
        self._request = threading.Lock()
        self._changed = threading.Condition()
        self._answers: list[dict[str, Any]] = []
        self._statuses: dict[int, int] = {}
        self._gone = False
        self._ready = False
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "harness.provision.connections.template_process",
                    str(theirs.fileno()),
                    *modules,
                    "--",
                    *prepared_with,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, name="template", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        try:
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def wait_ready(self) -> None:
        """Until its modules are loaded, which `start` takes for granted. Doing it twice is no error. HarnessError."""
        if not self._ready:
            self._answer(READY_TIMEOUT_S)
            self._ready = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, module: str, stderr: int, netns: int | None = None) -> ForkedProcess:
        """Start a module as `python -m` would; netns: descriptor of its network namespace. ProcessFailed."""
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        descriptors = [theirs_in, theirs_out, stderr, *([] if netns is None else [netns])]
        try:
            with self._request:
                socket.send_fds(self._control, [json.dumps({"module": module}).encode()], descriptors)
                answer = self._answer(ANSWER_TIMEOUT_S)
            if "error" in answer:
                raise ProcessFailed(f"start {module}: {answer['error']}")
        except BaseException as error:
            os.close(ours_in)
            os.close(ours_out)
            if isinstance(error, OSError):
                raise ProcessFailed(f"start {module}: the template has ended ({error.strerror})") from error
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        return ForkedProcess(self, int(answer["pid"]), os.fdopen(ours_in, "wb"), os.fdopen(ours_out, "rb"))

    def close(self) -> None:
        """End the template; processes it has started go on. Doing it twice is no error."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._control.close()

    def status(self, pid: int, timeout_s: float) -> int | None:
        """Exit status of a process of this template once it has ended, None after the time without an end."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while pid not in self._statuses and not self._gone and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return self._statuses.get(pid)

    @property
    def gone(self) -> bool:
        """Whether the template has ended: it reports no end any more."""
        return self._gone

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._answers:
                left = deadline - time.monotonic()
                if self._gone or left <= 0:
                    why = "has ended" if self._gone else f"did not answer within {timeout_s:g} s"
                    raise HarnessError(f"template process {self._process.pid} {why}")
                self._changed.wait(left)
            return self._answers.pop(0)

    def _read(self) -> None:
        while True:
            try:
                line = self._control.recv(4096)
            except OSError:
                line = b""
            with self._changed:
                if not line:
                    self._gone = True
                elif "status" in (answer := json.loads(line)):
                    self._statuses[answer["pid"]] = answer["status"]
                else:
                    self._statuses.pop(answer.get("pid", 0), None)  # of an earlier process with this number
                    self._answers.append(answer)
                self._changed.notify_all()
                if not line:
                    return


class ForkedProcess:
    """A process of a template, with the part of subprocess.Popen that the harness uses."""

    def __init__(self, template: Template, pid: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self._template = template
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.returncode: int | None = None
        self._lock = threading.Lock()
        try:
            self._descriptor: int | None = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended already
            self._descriptor = None

    def poll(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit status. subprocess.TimeoutExpired."""
        if self.returncode is None:
            status = self._template.status(self.pid, threading.TIMEOUT_MAX if timeout is None else timeout)
            if status is None and self._template.gone:
                status = self._fate(timeout)
            if status is None:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            with self._lock:
                self.returncode = status
                if self._descriptor is not None:
                    os.close(self._descriptor)
                    self._descriptor = None
        return self.returncode

    def _fate(self, timeout: float | None) -> int | None:
        """Without the template nobody knows the status of a process that has ended."""
        if self._descriptor is None:
            return -signal.SIGKILL
        ended, _, _ = select.select([self._descriptor], [], [], timeout)
        return -signal.SIGKILL if ended else None

    def send_signal(self, number: int) -> None:
        """Nothing happens to one that has ended."""
        if self.poll() is not None:
            return
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)
