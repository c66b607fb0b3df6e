"""Delivers one points.lp to one server, from the offset to the end of its last complete line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.record.rundir import POINTS
from harness.sink.offset import Delivered, read_delivered, write_delivered
from harness.sink.quarantine import put
from harness.sink.reply import Refused, Rejected, Unavailable
from harness.sink.target import Target

BATCH_LINES = 5000
BATCH_BYTES = 4 << 20
"""Also a limit: servers refuse bodies of more than 10 to 25 MB."""
REJECTED_MAX = 100
"""Rejected lines of one file after which it is the file, or the server, and not some lines."""
PAUSES_S = (0.5, 1.0)
"""Before each further attempt at a server that is not available."""
PAUSE_MAX_S = 10.0
"""However long the server asks to wait."""


class Server(Protocol):
    """What delivering needs of a server."""

    def write(self, lines: bytes) -> None:
        """Store complete lines; Rejected, Unavailable, Refused."""


@dataclass
class Delivery:
    """One file on its way. `pause` waits a number of seconds."""

    folder: Path
    target: Target
    server: Server
    pause: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self._delivered: Delivered = read_delivered(self.folder, self.target)
        self._rejected = 0

    def carry_out(self) -> None:
        """Until the last complete line is stored or in the quarantine. What is done stays done when it ends early:

        Unavailable, Refused, OSError (the disk).
        """
        for lines in batches(self.folder / POINTS, self._delivered.offset_bytes):
            self._store(lines)

    def _store(self, lines: list[bytes]) -> None:
        """In order, so that the offset stands behind everything that is done; rejected lines are found by halving."""
        try:
            self._write(b"".join(lines))
        except Rejected as rejection:
            if len(lines) > 1:
                middle = len(lines) // 2
                self._store(lines[:middle])
                self._store(lines[middle:])
                return
            self._quarantine(lines[0], str(rejection))
            return
        self._advance(sum(map(len, lines)), stored=len(lines))

    def _write(self, lines: bytes) -> None:
        for pause_s in (*PAUSES_S, None):
            try:
                return self.server.write(lines)
            except Unavailable as error:
                if pause_s is None:
                    raise
                self.pause(min(max(pause_s, error.retry_after_s or 0.0), PAUSE_MAX_S))
        raise AssertionError("the last attempt returns or raises")

    def _quarantine(self, line: bytes, reason: str) -> None:
        if self._rejected == REJECTED_MAX:
            raise Refused(f"more than {REJECTED_MAX} lines of {self.folder / POINTS} rejected, the last with: {reason}")
        self._rejected += 1
        put(self.folder, self.target, self._delivered.offset_bytes, line, reason)
        self._advance(len(line), rejected=1)

    def _advance(self, length_bytes: int, stored: int = 0, rejected: int = 0) -> None:
        self._delivered = _moved(self._delivered, length_bytes, stored, rejected)
        write_delivered(self.folder, self.target, self._delivered)


def _moved(delivered: Delivered, length_bytes: int, stored: int, rejected: int) -> Delivered:
    """The next state."""
    return delivered.model_copy(
        update={
            "offset_bytes": delivered.offset_bytes + length_bytes,
            "stored_lines": delivered.stored_lines + stored,
            "rejected_lines": delivered.rejected_lines + rejected,
        }
    )


def batches(path: Path, offset_bytes: int) -> Iterator[list[bytes]]:
    """Complete lines from an offset on, at most BATCH_LINES and about BATCH_BYTES at a time. OSError.

    A last line without its end is left alone: it is still being written, or a crash tore it.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(offset_bytes)
        lines: list[bytes] = []
        size_bytes = 0
        for line in file:
            if not line.endswith(b"\n"):
                break
            lines.append(line)
            size_bytes += len(line)
            if len(lines) == BATCH_LINES or size_bytes >= BATCH_BYTES:
                yield lines
                lines, size_bytes = [], 0
        if lines:
            yield lines
