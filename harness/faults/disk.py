"""Filling a file system, and making room again."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

BALLAST = ".ballast"
_STEPS_BYTES = (1 << 20, 1 << 16, 4096)


class Ballast:
    """A file that takes all that is left of the file system of `folder`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / BALLAST

    def fill(self) -> int:
        """Allocate until nothing is left; returns the bytes taken. OSError for anything but a full file system."""
        size = 0
        with self._path.open("ab") as file:
            for step in _STEPS_BYTES:
                while True:
                    try:
                        os.posix_fallocate(file.fileno(), size, step)
                    except OSError as error:
                        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                            raise
                        break
                    size += step
        return size

    def release(self) -> None:
        """Make room again. Doing it twice is no error."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
