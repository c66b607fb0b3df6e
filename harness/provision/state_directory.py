"""The state directory and its lock.

Of root it is /run/slim-harness and stays; of an ordinary user `slim-harness` in XDG_RUNTIME_DIR, or
/tmp/slim-harness-<uid> where there is none, and is removed when nothing is in it. SLIM_HARNESS_STATE overrides both.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from harness.errors import MachineError

STATE_VARIABLE = "SLIM_HARNESS_STATE"
DEFAULT_STATE_DIRECTORY = Path("/run/slim-harness")
LOCK = "lock"


def state_directory() -> Path:
    """Where ownership is recorded on this machine."""
    given = os.environ.get(STATE_VARIABLE)
    if given:
        return Path(given)
    user = os.geteuid()
    if user == 0:
        return DEFAULT_STATE_DIRECTORY
    with contextlib.suppress(OSError, KeyError):
        runtime = Path(os.environ["XDG_RUNTIME_DIR"])
        if runtime.is_absolute() and runtime.stat().st_uid == user:
            return runtime / "slim-harness"
    return Path(f"/tmp/slim-harness-{user}")


def make_state_directory(where: Path) -> None:
    """Make it where it is not there. OSError; MachineError when it is somebody else's: in /tmp anybody can make one."""
    where.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() != 0 and where.lstat().st_uid != os.geteuid():
        raise MachineError(f"state directory {where}: belongs to somebody else; set {STATE_VARIABLE} to another")


def lock_state(where: Path) -> int:
    """Hold the lock of an existing state directory; returns its descriptor, closing which gives it back.

    BlockingIOError when somebody else holds it. A lock that was removed while it was waited for is none: it is taken
    again under its name.
    """
    while True:
        descriptor = os.open(where / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.fstat(descriptor)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(held, (where / LOCK).stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def remove_state_directory(where: Path) -> None:
    """Remove an ordinary user's state directory, unless it was chosen by the user, is in use, or holds a record."""
    if os.geteuid() == 0 or os.environ.get(STATE_VARIABLE) or where != state_directory():
        return
    try:
        if any(entry.name != LOCK for entry in where.iterdir()):
            return
        descriptor = lock_state(where)
    except OSError:
        return
    try:
        (where / LOCK).unlink()
        where.rmdir()
    except OSError:
        pass  # a run that began meanwhile has put something into it
    finally:
        os.close(descriptor)
