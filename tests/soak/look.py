"""The machine as it is: everything a run may leave changed, read without a line of the program that is tested.

Processes of a command are told by a variable of their environment that children inherit and nobody else has.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

NAMES = Path("/run/netns")
SYSCTL = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
STATE_VARIABLE = "SLIM_HARNESS_STATE"

_CLONE_NEWNS = 0x00020000
_MS_PRIVATE, _MS_REC, _MS_SHARED = 1 << 18, 1 << 14, 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


class Look(NamedTuple):
    """What is there; two of them are equal where nothing was left and nothing of others was touched."""

    namespaces: Mapping[str, tuple[int, int]]
    mounts: tuple[str, ...]
    links: tuple[str, ...]
    processes: tuple[str, ...]
    sysctl: str
    state: tuple[str, ...]
    temporary: tuple[str, ...]


def differences(before: Look, after: Look) -> list[str]:
    """A line for everything that is in only one of them."""
    found = []
    for name, old, new in zip(Look._fields, before, after, strict=True):
        if isinstance(old, str):
            found += [f"{name}: {old!r} became {new!r}"] if old != new else []
            continue
        was, now = _lines(old), _lines(new)
        found += [f"{name}: left: {line}" for line in sorted(now - was)]
        found += [f"{name}: missing: {line}" for line in sorted(was - now)]
    return found


def _lines(value: Any) -> set[str]:
    return {f"{key} {entry}" for key, entry in value.items()} if isinstance(value, Mapping) else set(value)


def private_names() -> None:
    """Give this process and its children a /run/netns and a /dev/shm of their own: names of others neither come nor go.

    Changes the mounts of the calling thread for good; call it in the only one.
    """
    NAMES.mkdir(mode=0o755, parents=True, exist_ok=True)
    for result in (
        _libc.unshare(_CLONE_NEWNS),
        _libc.mount(b"none", b"/", None, _MS_PRIVATE | _MS_REC, None),
        _libc.mount(b"names", str(NAMES).encode(), b"tmpfs", 0, None),
        _libc.mount(b"none", str(NAMES).encode(), None, _MS_SHARED | _MS_REC, None),
        _libc.mount(b"shm", b"/dev/shm", b"tmpfs", 0, None),
    ):
        if result != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def look(state: Path, temporary: Path) -> Look:
    """The machine now; `state` and `temporary` are the folders the commands were given for theirs."""
    return Look(
        {path.name: _identity(path) for path in sorted(NAMES.iterdir())},
        tuple(_mounts()),
        tuple(_links()),
        tuple(f"{pid} {command_line(pid)}" for pid in processes_with(STATE_VARIABLE, str(state))),
        SYSCTL.read_text().strip(),
        tuple(sorted(str(path.relative_to(state)) for path in state.rglob("*") if path != state / "lock")),
        tuple(sorted(str(path) for root in (temporary, Path("/dev/shm")) for path in root.rglob("*"))),
    )


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _mounts() -> list[str]:
    """Below /run. What others had mounted below the directory of names, before one of our own covered it, goes when
    they end: of that directory only what is in the uppermost mount counts."""
    lines = [[*line.split(" - ")[0].split(), line.partition(" - ")[2]] for line in _mountinfo()]
    uppermost = [words[0] for words in lines if words[4] == str(NAMES)][-1:]
    return sorted(
        f"{words[4]} {words[3]} {words[-1]}"
        for words in lines
        if words[4].startswith("/run") and (not words[4].startswith(f"{NAMES}/") or words[1:2] == uppermost)
    )


def _mountinfo() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


def _links() -> list[str]:
    found = []
    for path in sorted(Path("/sys/class/net").iterdir()):
        with contextlib.suppress(OSError):
            found.append(f"{path.name} {(path / 'ifalias').read_text().strip()}")
    return found


def processes_with(variable: str, value: str) -> list[int]:
    """Processes, this one left out, whose environment has the variable with exactly this value."""
    wanted = f"{variable}={value}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return sorted(found)


def program_name(pid: int) -> str:
    """What a process calls itself; empty where it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def command_line(pid: int) -> str:
    """Arguments of a process, empty once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
