"""Runs tasks in order, knows how far it got, and undoes in reverse what it did."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from harness.errors import CleanupError, DeadlineExceeded
from harness.provision.task import Change, Context, Task

Result = TypeVar("Result")


class EventKind(StrEnum):
    """What an event tells; the values are the words of the output."""

    PLAY = "play"
    TASK = "task"
    OK = "ok"
    CHANGED = "changed"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNDONE = "undone"
    RECAP = "recap"


RESULTS = (EventKind.OK, EventKind.CHANGED, EventKind.SKIPPED, EventKind.FAILED)


@dataclass(frozen=True)
class Event:
    """One line of a run of the engine. `recap` is set on RECAP only: counts of results by node."""

    kind: EventKind
    name: str
    node: str = ""
    message: str = ""
    changes: tuple[Change, ...] = ()
    duration_ns: int = 0
    recap: dict[str, dict[str, int]] = field(default_factory=dict)


Callback = Callable[[Event], None]


class Engine:
    """Carries tasks out through a context and reports every step to `callback`.

    Tasks run on one thread of the engine's own, so that a deadline can be kept and an interruption of the caller never
    leaves a task half undone while it is still at work.
    """

    def __init__(self, context: Context, callback: Callback) -> None:
        self._context = context
        self._callback = callback
        self._begun: list[Task] = []
        self._executor: ThreadPoolExecutor | None = None

    @property
    def begun(self) -> tuple[Task, ...]:
        """Tasks that changed, or may have changed, something and were not undone since; in order."""
        return tuple(self._begun)

    def run(self, play: str, tasks: Sequence[Task], check: bool = False) -> dict[str, dict[str, int]]:
        """Bring every task's state about; returns the recap (node -> result -> count).

        With `check` nothing is changed: a task that would change something is reported as changed, with its changes.
        On any error, KeyboardInterrupt included, what this engine has done so far is undone in reverse, then the error
        is raised again.
        """
        recap: dict[str, Counter[str]] = {}
        self._callback(Event(EventKind.PLAY, play))
        heading = node = ""
        try:
            for task in tasks:
                node = task.node
                if task.name != heading:
                    heading = task.name
                    self._callback(Event(EventKind.TASK, heading))
                counts = recap.setdefault(node, Counter())
                counts[self._run_one(task, check)] += 1
        except BaseException as error:
            recap.setdefault(node, Counter())[EventKind.FAILED] += 1
            message = str(error) or type(error).__name__
            self._callback(Event(EventKind.FAILED, heading, node, message))
            self._finish(recap)
            if not check:
                self._undo_after(error)
            raise
        self._finish(recap)
        return {node: dict(counts) for node, counts in recap.items()}

    def _run_one(self, task: Task, check: bool) -> EventKind:
        started_ns = time.monotonic_ns()
        reason = task.skip_reason()
        if reason is not None:
            self._callback(Event(EventKind.SKIPPED, task.name, task.node, reason))
            return EventKind.SKIPPED

        def carry_out() -> list[Change]:
            changes = task.diff(task.observe(self._context))
            if changes and not check:
                if task not in self._begun:
                    self._begun.append(task)
                task.apply(self._context, changes)
                task.verify(self._context)
            return changes

        changes = self._within(task, carry_out)
        kind = EventKind.CHANGED if changes else EventKind.OK
        duration_ns = time.monotonic_ns() - started_ns
        self._callback(Event(kind, task.name, task.node, changes=tuple(changes), duration_ns=duration_ns))
        return kind

    def _within(self, task: Task, work: Callable[[], Result]) -> Result:
        """Run `work` on the engine's thread within the task's deadline."""
        executor = self._started_executor()
        future: Future[Result] | None = None
        try:
            future = executor.submit(work)
            return future.result(timeout=task.deadline_s)
        except FutureTimeout:
            if future is None or future.done():
                raise  # the task itself raised TimeoutError
            self._abandon()
            raise DeadlineExceeded(f"{task.name} [{task.node}]: not finished within {task.deadline_s:g} s") from None
        except KeyboardInterrupt:
            task.cancel()
            self._wait_until_idle(task.deadline_s)
            raise

    def _started_executor(self) -> ThreadPoolExecutor:
        """The engine's executor, its thread running.

        The thread is started by work that does nothing: an executor interrupted while its first thread starts would
        start a second one later, and waiting for that one says nothing about the task the first one is at.
        """
        if self._executor is None:
            executor = ThreadPoolExecutor(1, thread_name_prefix="provision")
            executor.submit(lambda: None).result()
            self._executor = executor
        return self._executor

    def _wait_until_idle(self, deadline_s: float) -> None:
        """Wait until the engine's thread has finished what it is at, also what was handed over an instant ago."""
        if self._executor is None:
            return
        try:
            self._executor.submit(lambda: None).result(timeout=deadline_s)
        except FutureTimeout:
            self._abandon()

    def _abandon(self) -> None:
        """Leave a thread that hangs to itself; what comes next gets a new one."""
        if self._executor is not None:
            self._executor.shutdown(wait=False)
        self._executor = None

    def _finish(self, recap: dict[str, Counter[str]]) -> None:
        totals = {node: {str(kind): counts[kind] for kind in RESULTS} for node, counts in recap.items()}
        self._callback(Event(EventKind.RECAP, "recap", recap=totals))

    def _undo_after(self, error: BaseException) -> None:
        try:
            self.undo()
        except CleanupError as cleanup_error:
            error.add_note(str(cleanup_error))

    def undo(self, only: Callable[[Task], bool] = lambda _task: True) -> None:
        """Undo in reverse everything this engine has done (of that, what `only` picks).

        Raises CleanupError listing what did not work, after trying all.

        What lives inside a namespace that goes as well goes with it. An interruption is raised after the last task.
        """
        failures: list[str] = []
        interruption: KeyboardInterrupt | None = None
        chosen = [task for task in reversed(self._begun) if only(task)]
        self._begun = [task for task in self._begun if task not in chosen]
        removed = {task.provides for task in chosen if task.provides is not None}
        for task in chosen:
            if task.container is not None and task.container in removed:
                continue
            started_ns = time.monotonic_ns()
            try:
                self._within(task, lambda task=task: task.undo(self._context))  # type: ignore[misc]
            except KeyboardInterrupt as error:
                interruption = error
            except Exception as error:
                failures.append(f"{task.name} [{task.node}]: {error}")
                continue
            duration_ns = time.monotonic_ns() - started_ns
            self._callback(Event(EventKind.UNDONE, task.name, task.node, duration_ns=duration_ns))
        if interruption is not None:
            raise interruption
        if failures:
            raise CleanupError("could not be undone: " + "; ".join(failures) + "; `harness clean` tries again")

    def close(self) -> None:
        """End the engine's thread."""
        if self._executor is not None:
            self._executor.shutdown(wait=True)
            self._executor = None
