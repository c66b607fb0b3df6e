"""Temporary directories that do not outlive a program that is killed: recorded before they are made."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import MachineError
from harness.provision.ownership import Ownership

PREFIX = "slim-harness-"
KIND = "directory"


@contextmanager
def scratch_directory(purpose: str) -> Iterator[Path]:
    """A new directory for this user alone, removed with the block; `harness clean` removes it after a kill.

    Where there is no usable state directory (without privileges) it is made all the same, unrecorded. OSError.
    """
    token = secrets.token_hex(8)
    path = Path(tempfile.gettempdir()).absolute() / f"{PREFIX}{purpose}-{token}"
    try:
        ownership = Ownership.beside(f"{purpose}-{token}")
    except MachineError:
        with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{purpose}-") as name:
            yield Path(name)
        return
    with ownership:
        number = ownership.intend(KIND, str(path))
        path.mkdir(mode=0o700)
        try:
            status = path.stat()
            ownership.made(number, {"device": status.st_dev, "inode": status.st_ino})
            yield path
        finally:
            shutil.rmtree(path)
            ownership.gone(number)


def remove_scratch(name: str, identity: dict[str, Any]) -> bool:
    """Remove the recorded directory if it is that very one; without an identity, only if it is empty. OSError."""
    path = Path(name)
    if not path.is_absolute() or ".." in path.parts or not path.name.startswith(PREFIX):
        return False  # no record of ours
    try:
        status = path.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return False
    if identity.get("inode") is None:
        try:
            path.rmdir()
        except OSError:
            return False
        return True
    if (status.st_dev, status.st_ino) != (identity.get("device"), identity.get("inode")):
        return False
    shutil.rmtree(path)
    return True
