"""A [[task]] on one host as the controller's engine sees it; harness.remote.task_part does there what it says."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import HarnessError, ProtocolError
from harness.profile.tasks import KINDS_THAT_STAY, TaskTable
from harness.provision.task import Change, Context, State, Task
from harness.remote.caller import Caller
from harness.remote.errors import ConnectionLost
from harness.remote.task_part import Step
from harness.remote.user_tasks import deadline_s

_MARGIN_S = 10.0
"""The other side ends what takes too long, and says so."""
_CANCEL_S = 5.0
_CHANGES = "changes"
_REASONS_MAX = 3
"""In one message, which names every host."""


class TaskFailed(HarnessError):
    """A task of the user's failed on a host or more; the exit code is that of the reasons, 1 where they differ."""

    def __init__(self, task: str, reasons: Mapping[str, HarnessError]) -> None:
        """reasons: by target."""
        places = [f"on {label}: {error}" for label, error in list(reasons.items())[:_REASONS_MAX]]
        if others := list(reasons)[_REASONS_MAX:]:
            places.append(f"also on {', '.join(others)}")
        super().__init__(f"task {task!r} {'; '.join(places)}")
        self.task, self.reasons = task, dict(reasons)
        codes = {error.exit_code for error in reasons.values()}
        self.exit_code = codes.pop() if len(codes) == 1 else 1

    @classmethod
    def together(cls, failures: Sequence[TaskFailed]) -> TaskFailed:
        """One task that failed on several hosts."""
        return cls(failures[0].task, {label: error for each in failures for label, error in each.reasons.items()})


@dataclass
class TaskResult:
    """What came of a task: `result` is ok, changed or failed, "differs" if it was only looked at, and empty while it
    was not reached. exit_status: of a program that has ended by itself before the experiment had."""

    result: str = ""
    message: str = ""
    changes: tuple[Change, ...] = ()
    output: str = ""
    exit_status: int | None = None
    duration_ns: int = 0


@dataclass(frozen=True)
class Target:
    """Where a task goes: its row of the recap, the host, and the namespace of a node (None: the host's own)."""

    label: str
    host: str
    netns: str | None = None


@dataclass(frozen=True)
class Material:
    """What a task needs of the controller: the content of a file, variables for a program. Both may be secret."""

    content: bytes | None = field(default=None, repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


class HostTask(Task):
    """One task on one target. `number` tells it from the other tasks of the same caller, `together` says which are the
    same task on other targets: hosts do it side by side, a host one after the other.
    """

    def __init__(
        self, number: int, together: int, table: TaskTable, target: Target, caller: Caller, material: Material
    ) -> None:
        super().__init__(target.label)
        self.name = table.title
        self.together, self.lane, self.stays = together, target.host, table.kinds[0] in KINDS_THAT_STAY
        self.number, self.table, self.target = number, table, target
        self.result = TaskResult()
        self._caller, self._material = caller, material
        self._there_s = deadline_s(table) + _MARGIN_S
        self.deadline_s = 3 * self._there_s

    def wanted(self) -> State:
        return {}

    def observe(self, context: Context) -> State:
        """The changes that are still to be made, as the other side sees them."""
        found = self._ask("check")
        if self.result.result != "changed":
            self.result.changes = tuple(found)
            self.result.result = "differs" if found else "ok"
        return {_CHANGES: found}

    def diff(self, observed: State) -> list[Change]:
        return list(observed[_CHANGES])

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        self.result.changes = tuple(self._ask("apply"))
        self.result.result = "changed"

    def verify(self, context: Context) -> None:
        """Done there, together with `apply`."""

    def cancel(self) -> None:
        with contextlib.suppress(HarnessError):  # what is not broken off ends at its deadline
            self._caller.call("cancel_task", _CANCEL_S)

    def undo(self, context: Context) -> None:
        self._ask("undo")

    def _ask(self, step: Step) -> list[Change]:
        content = self._material.content
        started_ns = time.monotonic_ns()
        try:
            answer = self._caller.call(
                "task",
                self._there_s,
                step=step,
                number=self.number,
                table=self.table.model_dump(mode="json", by_alias=True, exclude_none=True),
                netns=self.target.netns,
                content=None if content is None else base64.b64encode(content).decode(),
                environment=dict(self._material.environment),
            )
            return self._take(answer)
        except HarnessError as error:
            self.result.result, self.result.message = "failed", str(error)
            if step == "undo" and isinstance(error, ConnectionLost):
                return []  # the agent undoes everything when its connection ends
            raise TaskFailed(self.name, {self.target.label: error}) from error
        finally:
            self.result.duration_ns += time.monotonic_ns() - started_ns

    def _take(self, answer: dict[str, Any]) -> list[Change]:
        try:
            changes = [Change(str(subject), before, after) for subject, before, after in answer["changes"]]
            self.result.output = str(answer["output"]) or self.result.output
            status = answer["exit_status"]
            self.result.exit_status = None if status is None else int(status)
        except (KeyError, TypeError, ValueError):
            raise ProtocolError("task: an answer that is none") from None
        return changes
