"""A user and a mount namespace in which an ordinary user holds the capabilities a testbed needs (user_namespaces(7)).

The user keeps their own id in it, so that files, and programs that ask who they are, are as without it. The process
stays in the network and process namespaces it came from: results go out as ever, process ids mean the same to
everybody, and what started the command still sees its one process. Ambient capabilities (capabilities(7)) go on to
the programs it starts.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from harness.provision import kernel

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN = 10, 12, 13, 21
KEPT = (CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN)
"""What the testbed needs; all others are given up, those over the files of the user included."""

_CAPABILITY_VERSION_3 = 0x20080522
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2

_libc = ctypes.CDLL(None, use_errno=True)


class EntryRefused(Exception):
    """The kernel refused one step of entering; `number` is its errno."""

    def __init__(self, step: str, number: int) -> None:
        super().__init__(f"{step}: {os.strerror(number)}")
        self.step = step
        self.number = number


def enter(netns_directory: Path) -> None:
    """Move the process, which must have one thread, into the namespaces, with an empty place for the names of network
    namespaces at `netns_directory` (an existing folder). Raises EntryRefused; the process is then of no further use.
    """
    user, group = os.geteuid(), os.getegid()
    _unshare(CLONE_NEWUSER | CLONE_NEWNS, "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        try:
            Path(f"/proc/self/{name}").write_text(text)
        except OSError as error:
            raise EntryRefused(name, error.errno or 0) from error
    try:
        kernel.mount_tmpfs(netns_directory)
    except OSError as error:
        raise EntryRefused("mount", error.errno or 0) from error
    _keep_capabilities()


def find_refusal(netns_directory: Path) -> EntryRefused | None:
    """Try in a child what `enter` does, and a network namespace in it; None when all of it is permitted."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer = b""
        try:
            enter(netns_directory)
            _unshare(kernel.CLONE_NEWNET, "unshare of the network")
        except EntryRefused as refused:
            answer = f"{refused.number} {refused.step}".encode()
        except BaseException:
            answer = b"0 entering"
        finally:
            os.write(writer, answer)
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        number, _, step = pipe.read().decode().partition(" ")
    os.waitpid(pid, 0)
    return EntryRefused(step, int(number)) if number else None


def _unshare(flags: int, step: str) -> None:
    if _libc.unshare(flags) != 0:
        raise EntryRefused(step, ctypes.get_errno())


def _keep_capabilities() -> None:
    """Hold KEPT and nothing else, and pass it on to every program started from here."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low = sum(1 << number for number in KEPT)
    # Effective, permitted and inheritable, first of the capabilities 0 to 31, then of the others.
    data = (ctypes.c_uint32 * 6)(low, low, low, 0, 0, 0)
    if _libc.capset(header, data) != 0:
        raise EntryRefused("capset", ctypes.get_errno())
    for number in KEPT:
        if _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, ctypes.c_ulong(number), 0, 0) != 0:
            raise EntryRefused("ambient capabilities", ctypes.get_errno())
