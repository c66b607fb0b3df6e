"""Delivery beside an experiment: the harness's side of the sink process.

While runs are made nothing here raises or waits: a small file and two lines into a pipe per run. At the end it waits at
most END_S; what the process did and did not deliver is then read from the files, whatever became of it.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.options import Recorded
from harness.sink.offset import lines_left, note, read_delivered
from harness.sink.process import DEADLINE_S
from harness.sink.quarantine import quarantine_path
from harness.sink.target import TOKEN_VARIABLE, Target, read_token

END_S = DEADLINE_S


@contextmanager
def delivering(target: Target | None, tell: Callable[[str], None], end_s: float = END_S) -> Iterator[Recorded | None]:
    """Within the block, what to call with every run's folder when it begins and when it is done; None without a target.

    tell: hears at the end, line by line, what is not delivered and how to complete it. UsageError: the token of the
    environment cannot be read; nothing else is raised. The block's processes do not get the token.
    """
    if target is None:
        yield None
        return
    read_token(os.environ)
    sink = _Sink(target)
    token = os.environ.pop(TOKEN_VARIABLE, None)
    try:
        yield sink.recorded
    finally:
        if token is not None:
            os.environ[TOKEN_VARIABLE] = token
        for line in sink.end(end_s):
            tell(line)


class _Sink:
    """The process and the folders it was given."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._folders: list[Path] = []
        self._reason = ""
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "harness.sink.process", target.url, target.org, target.bucket],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            self._reason = f"the sink process cannot be started: {error.strerror}"
        else:
            assert self._process.stdin is not None
            os.set_blocking(self._process.stdin.fileno(), False)

    def recorded(self, folder: Path, *, growing: bool = False) -> None:
        """Note the folder and pass it on, as far as that goes without waiting."""
        folder = folder.resolve()
        if folder not in self._folders:
            self._folders.append(folder)
        try:
            note(folder, self._target)
            if self._process is not None and self._process.stdin is not None:
                command = {"growing" if growing else "complete": str(folder)}
                # One write of less than PIPE_BUF: whole or not at all.
                os.write(self._process.stdin.fileno(), json.dumps(command).encode() + b"\n")
        except OSError as error:
            self._reason = self._reason or f"the sink process does not take {folder}: {error.strerror}"

    def end(self, end_s: float) -> list[str]:
        """Wait for what is on its way, at most `end_s`; returns what people need to know."""
        if self._process is not None:
            try:
                output, _ = self._process.communicate(timeout=end_s)
                self._reason = _last_line(output) or self._reason
            except subprocess.TimeoutExpired:
                self._reason = self._reason or f"not finished {end_s:g} s after the last run"
            finally:
                # Also when an impatient user interrupts the wait.
                self._process.kill()
                self._process.wait()
        return describe(self._folders, self._target, self._reason)


def describe(folders: Sequence[Path], target: Target, reason: str) -> list[str]:
    """A line for what is left of these folders, and one for every file of rejected lines; empty where all is stored."""
    lines, left, unreadable = [], 0, 0
    for folder in folders:
        try:
            left += lines_left(folder, target)
        except OSError:
            unreadable += 1
        rejected = read_delivered(folder, target).rejected_lines
        if rejected:
            lines.append(f"{rejected} lines rejected by {target}: see {quarantine_path(folder, target)}")
    if left or unreadable:
        where = shlex.quote(os.path.commonpath([folder.parent for folder in folders]))
        command = f"harness push {where} --influx {shlex.quote(target.url)}"
        because = f" ({reason})" if reason else ""
        lines.append(f"{left} lines not delivered to {target}{because}; {command} completes them")
    return lines


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="backslashreplace").splitlines()
    return lines[-1][:1000] if lines else ""
