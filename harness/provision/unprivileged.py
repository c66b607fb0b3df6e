"""Commands of an ordinary user: when one needs the testbed's capabilities, the same command line is executed again in a
user namespace, where the kernel gives them.

Executed, not forked: it stays one process with the same id, terminal, standard streams, signals and exit code. The
second time the environment has ROOTLESS_VARIABLE, and the program enters as its first act, while it has one thread; it
is executed at most once. Names of network namespaces are then below the state directory, in a mount of the program's
own: with its last process the kernel removes namespaces, links and mount, whatever became of the program.

There is no process namespace: the id of the harness would mean nothing to the one who started it and to `clean`, /proc
cannot be mounted anew everywhere, and processes end without their harness by themselves anyway.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.errors import MachineError
from harness.provision import kernel, user_namespace
from harness.provision.capabilities import held_capabilities, missing_privileges
from harness.provision.connections.spawned import process_start_ticks
from harness.provision.kernel import ROOTLESS_VARIABLE
from harness.provision.state_directory import make_state_directory, remove_state_directory, state_directory
from harness.provision.user_namespace import EntryRefused

_NAMES = "netns-"
# Setting, the value with which it forbids (None: any that was reached), and what would permit it.
_SETTINGS: tuple[tuple[str, str, str], ...] = (
    ("user.max_user_namespaces", "0", "set it to 10000"),
    ("user.max_mnt_namespaces", "0", "set it to 10000"),
    ("user.max_net_namespaces", "0", "set it to 10000"),
    ("kernel.unprivileged_userns_clone", "0", "set it to 1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "set it to 0"),
)


class _Program:
    """What is known of the program as a whole. It may be replaced only where it is the program, not a caller's code."""

    replaceable = False
    refusal = ""


def is_rootless() -> bool:
    """Whether this process belongs to an ordinary user's command in a user namespace."""
    return os.geteuid() != 0 and bool(os.environ.get(ROOTLESS_VARIABLE))


def refusal() -> str:
    """Why the user namespace could not be entered; empty when that was not tried, or done."""
    return _Program.refusal


def explain(refused: EntryRefused, settings: Mapping[str, str]) -> str:
    """One line on a refusal that names the setting behind it. Pure; `settings` are those of the kernel that exist."""
    for name, forbids, permits in _SETTINGS:
        if settings.get(name) == forbids:
            return f"user namespaces are forbidden by {name} = {forbids} ({refused}); {permits}"
    if refused.number == errno.ENOSPC:
        reached = ", ".join(f"{name} = {settings[name]}" for name, *_ in _SETTINGS[:3] if name in settings)
        return f"too many namespaces ({refused}); the limits are {reached}"
    if refused.number in (errno.EPERM, errno.EACCES):
        return f"user namespaces are refused ({refused}) by a security module, or by the filter of a container"
    return f"user namespaces are not possible here ({refused})"


def read_settings() -> dict[str, str]:
    """The settings about namespaces that this kernel has."""
    found = {}
    for name, *_ in _SETTINGS:
        with contextlib.suppress(OSError):
            found[name] = Path("/proc/sys", *name.split(".")).read_text().strip()
    return found


def names_of_this_process() -> Path:
    """Folder for the names of network namespaces; executing another program keeps the id and the start of a process."""
    return state_directory() / f"{_NAMES}{os.getpid()}-{process_start_ticks(os.getpid())}"


def enter() -> None:
    """Execute this command line again in a user namespace, where that is needed, possible, and not done before.

    Returns where it is not; what then is missing is the business of `Facts.require_testbed`. Call it before anything
    is started or taken from the environment.
    """
    entered = bool(os.environ.get(ROOTLESS_VARIABLE) or _Program.refusal)
    if not _Program.replaceable or entered or os.geteuid() == 0 or not missing_privileges(held_capabilities()):
        return
    names = names_of_this_process()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, ROOTLESS_VARIABLE: str(names)})


@contextmanager
def program() -> Iterator[None]:
    """Around the whole program: enters, if it was executed for that, and removes in the end what entering made."""
    _Program.replaceable = True
    names = Path(os.environ.get(ROOTLESS_VARIABLE, ""))
    if not is_rootless() or not missing_privileges(held_capabilities()):
        yield
        return
    try:
        _enter(names)
        yield
    finally:
        _leave(names)


def _enter(names: Path) -> None:
    try:
        make_state_directory(names.parent)
        remove_stale(names.parent)
        names.mkdir(mode=0o700)
    except (OSError, MachineError) as error:
        _refuse(f"a place for the names of namespaces cannot be made: {error}")
        return
    refused = user_namespace.find_refusal(names)
    if refused is None:
        try:
            user_namespace.enter(names)
            return
        except EntryRefused as error:
            refused = error
    _refuse(explain(refused, read_settings()))


def _refuse(reason: str) -> None:
    _Program.refusal = reason
    del os.environ[ROOTLESS_VARIABLE]


def _leave(names: Path) -> None:
    with contextlib.suppress(OSError):
        kernel.unmount(names)
    with contextlib.suppress(OSError):
        names.rmdir()
    remove_state_directory(names.parent)


def holds_names(folder: Path) -> bool:
    """Whether a folder of a state directory is one for the names of a program's network namespaces."""
    return folder.name.startswith(_NAMES)


def remove_stale(state: Path) -> None:
    """Remove the empty folders of an ordinary user's programs that were killed. That of a living one must stay:
    removing a folder also takes away what others have mounted on it.
    """
    for folder in state.glob(f"{_NAMES}*"):
        pid, _, ticks = folder.name.removeprefix(_NAMES).partition("-")
        if pid.isdecimal() and str(process_start_ticks(int(pid))) != ticks:
            with contextlib.suppress(OSError):
                folder.rmdir()
