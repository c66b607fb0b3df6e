"""Kernel parameters under /proc/sys, per namespace for most of /proc/sys/net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import MachineError
from harness.provision.connections.errors import NamespaceMissing
from harness.provision.task import Change, Context, State, Task

_ROOT = Path("/proc/sys")
_KIND = "sysctl"
_CPU_MASKS = frozenset({"net.core.rps_default_mask"})


def sysctl_path(name: str) -> Path:
    """File of a parameter written with dots ("net.ipv4.ip_forward")."""
    return _ROOT / name.replace(".", "/")


def read_sysctl(name: str) -> str | None:
    """Value of a parameter in the calling thread's namespace, words separated by one blank; None when there is none.

    A CPU mask is given without the leading zeros and commas, of which the kernel writes as many as it has CPUs.
    """
    try:
        words = sysctl_path(name).read_text().split()
    except FileNotFoundError:
        return None
    if name in _CPU_MASKS and len(words) == 1:
        return f"{int(words[0].replace(',', ''), 16):x}"
    return " ".join(words)


def write_sysctl(name: str, value: str) -> None:
    """Set a parameter in the calling thread's namespace; MachineError when the kernel refuses the value."""
    try:
        sysctl_path(name).write_text(value)
    except OSError as error:
        raise MachineError(f"kernel parameter {name}: the kernel refuses {value!r}: {error.strerror}") from error


def set_on_host(context: Context, name: str, before: str, after: str) -> None:
    """Set a parameter of the host itself, recorded so that it can be given its value back."""
    identity = {"netns": None, "path": str(sysctl_path(name)), "before": before, "after": after}
    number = context.ownership.intend(_KIND, name, identity)
    context.connection.run(None, lambda: write_sysctl(name, after))
    context.ownership.made(number)


def restore_on_host(context: Context, name: str) -> None:
    """Give a parameter of the host its value back, unless someone else has changed it since."""
    item = context.ownership.find(_KIND, name)
    if item is None:
        return
    present = context.connection.run(None, lambda: read_sysctl(name))
    if present is not None and set(present.split()) == set(item.identity["after"].split()):
        context.connection.run(None, lambda: write_sysctl(name, item.identity["before"]))
    context.ownership.gone(item.number)


class Sysctls(Task):
    """Set parameters that exist on this kernel; one that does not exist cannot be wrong and is left out."""

    name = "set kernel parameters"

    def __init__(self, node: str, netns: str | None, values: Mapping[str, str], container: str | None = None) -> None:
        super().__init__(node, container)
        self.netns = netns
        self.values = values

    def wanted(self) -> State:
        return dict(self.values)

    def observe(self, context: Context) -> State:
        def read() -> dict[str, str]:
            found = {name: read_sysctl(name) for name in self.values}
            return {name: self.values[name] if value is None else value for name, value in found.items()}

        try:
            return context.connection.run(self.netns, read)
        except NamespaceMissing:
            return {}

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        if self.netns is None:
            for change in changes:
                set_on_host(context, change.subject, str(change.before), str(change.after))
            return

        def write() -> None:
            for change in changes:
                write_sysctl(change.subject, str(change.after))

        context.connection.run(self.netns, write)

    def undo(self, context: Context) -> None:
        """Give parameters of the host their value back; those of a namespace of ours go with it."""
        if self.netns is None:
            for name in reversed(list(self.values)):
                restore_on_host(context, name)


class RequiredSysctls(Sysctls):
    """The same, of parameters that have to exist: MachineError naming one that does not."""

    def observe(self, context: Context) -> State:
        try:
            found = context.connection.run(self.netns, lambda: {name: read_sysctl(name) for name in self.values})
        except NamespaceMissing:
            return {}
        for name, value in found.items():
            if value is None:
                raise MachineError(f"kernel parameter {name}: this kernel has none of that name")
        return found


class SysctlMember(Task):
    """A word that a list-valued parameter of the host has to contain, whatever else it contains."""

    name = "extend kernel parameter"

    def __init__(self, node: str, parameter: str, member: str) -> None:
        super().__init__(node)
        self.parameter = parameter
        self.member = member

    def wanted(self) -> State:
        return {f"{self.parameter} {self.member}": "present"}

    def observe(self, context: Context) -> State:
        words = (context.connection.run(None, lambda: read_sysctl(self.parameter)) or "").split()
        return {f"{self.parameter} {word}": "present" for word in words}

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        before = context.connection.run(None, lambda: read_sysctl(self.parameter)) or ""
        set_on_host(context, self.parameter, before, f"{before} {self.member}".strip())

    def undo(self, context: Context) -> None:
        restore_on_host(context, self.parameter)
