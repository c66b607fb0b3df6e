"""Runs a command as an ordinary user: `python ordinary_user.py UID FOLDER... -- COMMAND...` (as root).

The user needs to read the interpreter and the sources, which may lie below a folder that only root can enter. In a
mount namespace of its own every such folder is replaced by an empty one that anybody can enter, with the needed paths
(FOLDER, and those of this interpreter) in their places. The rest of the machine does not notice.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 1 << 14, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def mount(source: str, target: Path, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
    if _libc.mount(source.encode(), str(target).encode(), kind, flags, data) != 0:
        raise OSError(ctypes.get_errno(), f"mount {source} on {target}: {os.strerror(ctypes.get_errno())}")


def closed_ancestor(path: Path) -> Path | None:
    """The first folder on the way to `path` that others may not enter."""
    return next((folder for folder in reversed(path.parents) if not folder.stat().st_mode & stat.S_IXOTH), None)


def reveal(paths: set[Path]) -> None:
    """Let everybody reach the paths, in this mount namespace."""
    opened = {path: os.open(path, os.O_PATH) for path in paths}
    for path in sorted(paths):
        closed = closed_ancestor(path)
        if closed is not None:
            mount("opened", closed, b"tmpfs", 0, b"mode=755")
        if not path.exists():
            path.mkdir(parents=True)
            mount(f"/proc/self/fd/{opened[path]}", path, None, _MS_BIND | _MS_REC)


def main(arguments: list[str]) -> None:
    end = arguments.index("--")
    user, folders, command = arguments[0], arguments[1:end], arguments[end + 1 :]
    assert _libc.unshare(_CLONE_NEWNS) == 0, os.strerror(ctypes.get_errno())
    mount("none", Path("/"), None, _MS_PRIVATE | _MS_REC)
    reveal({Path(folder).resolve() for folder in (*folders, sys.prefix, sys.base_prefix)})
    rights = [f"--reuid={user}", f"--regid={user}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    os.execvp("setpriv", ["setpriv", *rights, "--", *command])


if __name__ == "__main__":
    main(sys.argv[1:])
