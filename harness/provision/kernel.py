"""The few system calls about namespaces that Python 3.11 lacks: setns, unshare, mount, umount2 (namespaces(7),
time_namespaces(7), mount(2)).

Every function acts on the calling thread only. Call them in a thread made for the purpose, never in the main thread:
a thread that has entered a network namespace stays there.
"""

from __future__ import annotations

import ctypes
import os
import stat
import threading
from pathlib import Path
from typing import NamedTuple

CLONE_NEWNET = 0x40000000
CLONE_NEWTIME = 0x00000080
ROOTLESS_VARIABLE = "SLIM_HARNESS_ROOTLESS"
"""Of the environment of an ordinary user's command in a user namespace, and of every process it starts: the folder of
the names of its network namespaces, which only they see."""
NETNS_DIRECTORY = Path((os.geteuid() != 0 and os.environ.get(ROOTLESS_VARIABLE)) or "/run/netns")

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_BIND = 4096
_MS_REC = 16384
_MS_SHARED = 1 << 20
_MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_void_p]
_libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]


class NamespaceIdentity(NamedTuple):
    """What tells one network namespace from every other: device and inode of its nsfs file."""

    device: int
    inode: int


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def setns_network(descriptor: int) -> None:
    """Move the calling thread into the network namespace behind `descriptor`; OSError if refused."""
    _check(_libc.setns(descriptor, CLONE_NEWNET), "setns")


def unshare_network() -> None:
    """Move the calling thread into a new, empty network namespace; OSError if refused."""
    _check(_libc.unshare(CLONE_NEWNET), "unshare")


def shift_clock_of_children(shift_ns: int) -> None:
    """Let CLOCK_MONOTONIC of what the calling thread forks from now on be that many ns ahead of its own.

    The thread itself keeps its clock, and can no longer start threads or share its memory with a child (vfork(2)).
    Once for a thread. OSError where the kernel has no time namespaces, refuses, or would have to go below zero.
    """
    _check(_libc.unshare(CLONE_NEWTIME), "unshare")
    offsets = Path(f"/proc/{threading.get_native_id()}/timens_offsets")
    # Offsets count from the machine's own clock, and those of the namespace this process is in are inherited.
    fields = next(line.split() for line in offsets.read_text().splitlines() if line.startswith("monotonic"))
    seconds, rest_ns = divmod(int(fields[1]) * 1_000_000_000 + int(fields[2]) + shift_ns, 1_000_000_000)
    offsets.write_text(f"monotonic {seconds} {rest_ns}\n")


def thread_namespace_path() -> str:
    """The nsfs path of the calling thread's network namespace."""
    return f"/proc/self/task/{threading.get_native_id()}/ns/net"


def thread_namespace_identity() -> NamespaceIdentity:
    """Identity of the calling thread's network namespace."""
    status = Path(thread_namespace_path()).stat()
    return NamespaceIdentity(status.st_dev, status.st_ino)


def prepare_netns_directory() -> None:
    """Make /run/netns a shared mount, as iproute2 does (ip-netns(8)).

    Without it a later `ip netns add` would bind the directory over itself and keep a second mount of ours for ever.
    """
    NETNS_DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
    target = str(NETNS_DIRECTORY).encode()
    try:
        _check(_libc.mount(b"", target, b"none", _MS_SHARED | _MS_REC, None), "mount")
    except OSError:
        _check(_libc.mount(target, target, b"none", _MS_BIND | _MS_REC, None), f"bind {NETNS_DIRECTORY}")
        _check(_libc.mount(b"", target, b"none", _MS_SHARED | _MS_REC, None), f"share {NETNS_DIRECTORY}")


def mount_tmpfs(path: Path) -> None:
    """Mount an empty file system in memory on an existing folder."""
    _check(_libc.mount(b"names", str(path).encode(), b"tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None), "mount")


def bind_thread_namespace(path: Path) -> None:
    """Give the calling thread's network namespace the name `path` (an existing empty file)."""
    _check(_libc.mount(thread_namespace_path().encode(), str(path).encode(), b"none", _MS_BIND, None), f"bind {path}")


def mount_memory(path: Path, size_bytes: int) -> None:
    """Mount a file system in memory (tmpfs(5)) that holds at most `size_bytes`; OSError if refused."""
    options = ctypes.c_char_p(f"size={size_bytes},mode=0755".encode())
    target = str(path).encode()
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _check(_libc.mount(b"slim-harness", target, b"tmpfs", flags, options), f"mount on {path}")


def unmount(path: Path) -> None:
    """Detach what is mounted on `path`; OSError(EINVAL) if nothing is."""
    _check(_libc.umount2(str(path).encode(), _MNT_DETACH), f"umount {path}")


def namespace_identity(name: str) -> NamespaceIdentity | None:
    """Identity of the named network namespace; None when there is none of that name.

    A plain file left by an interrupted creation is reported by its own device and inode, which never equal a
    namespace's.
    """
    try:
        status = (NETNS_DIRECTORY / name).stat()
    except FileNotFoundError:
        return None
    return NamespaceIdentity(status.st_dev, status.st_ino)


def remove_named_namespace(name: str, identity: NamespaceIdentity) -> bool:
    """Remove the name of a namespace if it is the very one of `identity`; False when it is not, or is not there."""
    path = NETNS_DIRECTORY / name
    if namespace_identity(name) != identity:
        return False
    unmount(path)
    path.unlink(missing_ok=True)
    return True


def remove_stale_name(name: str) -> bool:
    """Remove the empty plain file that a creation interrupted before its bind mount leaves; False when it is no such
    file.
    """
    path = NETNS_DIRECTORY / name
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != 0 or status.st_dev != NETNS_DIRECTORY.stat().st_dev:
            return False
        path.unlink()
    except OSError:
        return False
    return True
