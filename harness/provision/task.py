"""A task: one wanted state of one thing on one node, and how to reach it.

`observe` reads, `diff` decides (pure), `apply` acts, `verify` observes again, `undo` takes it back. A task that finds
its state already there changes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.provision.connections.base import Connection
from harness.provision.ownership import Ownership

State = Mapping[str, Any]
ABSENT = "absent"


class VerifyFailed(HarnessError):
    """A task was carried out without an error, and yet the wanted state is not there."""


@dataclass(frozen=True)
class Change:
    """One step from what is to what shall be. `before` is ABSENT for something that is not there yet."""

    subject: str
    before: Any
    after: Any

    def line(self) -> str:
        """The change in one line, for --diff."""
        return f"{self.subject}: {self.before} -> {self.after}"


@dataclass
class Context:
    """What a task acts through."""

    connection: Connection
    ownership: Ownership


def difference(observed: State, wanted: State) -> list[Change]:
    """Changes that turn `observed` into `wanted`, in the order of `wanted`; keys not wanted are nobody's business."""
    return [
        Change(key, observed.get(key, ABSENT), value)
        for key, value in wanted.items()
        if key not in observed or observed[key] != value
    ]


class Task(ABC):
    """Base of all tasks.

    `name` heads the output (consecutive tasks of one name appear under one heading), `node` is the column of the recap.
    `container` names the namespace that everything of this task lives in: when the same run made that namespace and is
    about to remove it, the task need not be undone by itself. Consecutive tasks with the same `together` are carried
    out, and undone, side by side: one at a time of each `lane`. What a task does that `stays` is not taken back by
    `undo`, and nobody is told that it was.
    """

    name: str = "task"
    deadline_s: float = 10.0
    together: object = None
    lane: str = ""
    stays: bool = False

    def __init__(self, node: str, container: str | None = None) -> None:
        self.node = node
        self.container = container

    @property
    def provides(self) -> str | None:
        """The namespace this task makes, if it makes one."""
        return None

    def skip_reason(self) -> str | None:
        """Why the task does not apply on this machine; None when it does."""
        return None

    @abstractmethod
    def observe(self, context: Context) -> State:
        """What is there now; an empty mapping when nothing is. Changes nothing."""

    @abstractmethod
    def wanted(self) -> State:
        """What shall be there."""

    def diff(self, observed: State) -> list[Change]:
        """Changes still to be made. Pure. Raises when what is there must not be touched."""
        return difference(observed, self.wanted())

    @abstractmethod
    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        """Carry the changes out."""

    def cancel(self) -> None:  # noqa: B027  (most tasks are quick)
        """Break off what takes long, from another thread than the one at work, which then fails. Nothing by default."""

    def verify(self, context: Context) -> None:
        """Observe again; VerifyFailed when something is still different."""
        left = self.diff(self.observe(context))
        if left:
            raise VerifyFailed(
                f"{self.name} [{self.node}]: not as wanted: {'; '.join(change.line() for change in left)}"
            )

    @abstractmethod
    def undo(self, context: Context) -> None:
        """Take back what `apply` did, however far it got. Doing it twice, or when nothing was done, is no error."""
