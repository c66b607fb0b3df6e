"""[[task]]s of a profile on the host at hand: in its agent, and in the harness itself for its own host.

Everything is recorded in the host's state directory while it is there, and undone by `close`.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import HarnessError, ProtocolError
from harness.profile.tasks import CONTENT_BYTES_MAX, TaskTable, task_problems
from harness.provision.connections.local import LocalConnection
from harness.provision.engine import Engine, Event, EventKind
from harness.provision.ownership import Ownership
from harness.provision.scratch import scratch_directory
from harness.provision.task import Context, Task
from harness.provision.tasks.command import RunningProgram
from harness.remote.user_tasks import Place, output_of, user_task

Step = Literal["check", "apply", "undo"]
_BASE64_MAX = CONTENT_BYTES_MAX * 4 // 3 + 4


class _Asked(BaseModel):
    """A request. Its content and environment may hold secrets: nothing of it is shown."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    number: Annotated[int, Field(ge=0)]
    step: Step
    table: dict[str, Any]
    netns: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}$")] | None = None
    content: Annotated[str, Field(max_length=_BASE64_MAX)] | None = None
    environment: dict[str, str] = Field(default_factory=dict)


class TaskPart:
    """Nothing is there before the first task is asked for. One thread at a time, but for `cancel_task`."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._engine: Engine | None = None
        self._folder = Path()
        self._tasks: dict[int, Task] = {}
        self._events: list[Event] = []
        self._at_work: Task | None = None

    @property
    def calls(self) -> Mapping[str, Callable[..., dict[str, Any]]]:
        """What an agent answers, by name."""
        return {"task": self.task, "cancel_task": self.cancel_task}

    def task(self, **asked: Any) -> dict[str, Any]:
        """One step of a task: `check` tells its changes, `apply` makes them, `undo` takes them back.

        {"changes": [[subject, before, after], ...], "output": what its programs have printed, "exit_status": of a
        program that has ended by itself before it was undone, else null}. HarnessError: the task failed; all tasks of
        this host are then undone. ProtocolError for what is no request.
        """
        wanted = _parse(_Asked, asked)
        engine = self._started()
        task = self._tasks.get(wanted.number)
        if task is None:
            task = self._tasks[wanted.number] = self._make(wanted)
        if wanted.step == "undo":
            engine.undo(only=lambda begun: begun is task)
            return self._told(task)
        self._events.clear()
        self._at_work = task
        try:
            engine.run(task.name, [task], check=wanted.step == "check")
        except OSError as error:
            raise HarnessError(f"{error.filename or task.name}: {error.strerror or error}") from error
        finally:
            self._at_work = None
        return self._told(task)

    def cancel_task(self) -> dict[str, Any]:
        """Break off the step that another thread is at, which then fails; nothing where there is none."""
        if (task := self._at_work) is not None:
            task.cancel()
        return {}

    def _told(self, task: Task) -> dict[str, Any]:
        changes = [
            [change.subject, str(change.before), str(change.after)]
            for event in self._events
            if event.kind is EventKind.CHANGED
            for change in event.changes
        ]
        ended = task.ended if isinstance(task, RunningProgram) else None
        status = None if ended is None or ended.get("stopped") else ended.get("exit_status")
        return {"changes": changes, "output": output_of(task), "exit_status": status}

    def _make(self, wanted: _Asked) -> Task:
        table = _parse(TaskTable, wanted.table)
        if problems := list(task_problems([table])):
            raise ProtocolError(f"task: {problems[0][1]}")
        try:
            content = None if wanted.content is None else base64.b64decode(wanted.content, validate=True)
        except binascii.Error:
            raise ProtocolError("task: content is no base64") from None
        output = self._folder / f"{wanted.number}.out"
        return user_task(table, Place(wanted.netns or "host", wanted.netns, output, content, wanted.environment))

    def _started(self) -> Engine:
        if self._engine is None:
            ownership = self._stack.enter_context(Ownership.beside(f"tasks-{secrets.token_hex(8)}"))
            connection = LocalConnection()
            self._stack.callback(connection.close)
            self._folder = self._stack.enter_context(scratch_directory("tasks"))
            self._engine = Engine(Context(connection, ownership), self._events.append)
            self._stack.callback(self._engine.close)
        return self._engine

    def close(self) -> None:
        """Undo everything, the last first. Doing it twice is no error. CleanupError: the record stays for `harness
        clean`."""
        engine, self._engine = self._engine, None
        self._tasks.clear()
        try:
            if engine is not None:
                engine.undo()
        finally:
            self._stack.close()


def _parse(model: type[Any], given: Any) -> Any:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise ProtocolError(f"task: {'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
