"""Runs tasks in order, those that go together side by side, knows how far it got, and undoes in reverse what it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from itertools import groupby

from harness.errors import CleanupError, HarnessError
from harness.provision.lanes import Lanes, Piece
from harness.provision.task import Change, Context, Task


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


class SeveralFailed(HarnessError):
    """What went together failed in more than one place; the exit code is theirs where they agree."""

    def __init__(self, errors: Sequence[BaseException]) -> None:
        super().__init__("; ".join(str(error) or type(error).__name__ for error in errors))
        self.errors = tuple(errors)
        codes = {error.exit_code if isinstance(error, HarnessError) else 1 for error in errors}
        self.exit_code = codes.pop() if len(codes) == 1 else 1


@dataclass(frozen=True)
class _Outcome:
    kind: EventKind
    changes: tuple[Change, ...] = ()
    message: str = ""


class Engine:
    """Carries tasks out through a context and reports every step to `callback`, from the thread that called it.

    Tasks run on threads of the engine's own, so that a deadline can be kept and an interruption of the caller never
    leaves a task half undone while it is still at work.
    """

    def __init__(self, context: Context, callback: Callback) -> None:
        self._context = context
        self._callback = callback
        self._begun: list[Task] = []
        self._lanes = Lanes()

    @property
    def begun(self) -> tuple[Task, ...]:
        """Tasks that changed, or may have changed, something and were not undone since; in order."""
        return tuple(self._begun)

    def run(self, play: str, tasks: Sequence[Task], check: bool = False) -> dict[str, dict[str, int]]:
        """Bring every task's state about; returns the recap (node -> result -> count).

        With `check` nothing is changed: a task that would change something is reported as changed, with its changes.
        On any error, KeyboardInterrupt included, what goes together with the task that failed comes to its end, then
        what this engine has done so far is undone in reverse, then the error is raised again (SeveralFailed for more
        than one).
        """
        recap: dict[str, Counter[str]] = {}
        self._callback(Event(EventKind.PLAY, play))
        heading = ""
        pieces: list[Piece[_Outcome]] = []
        try:
            for step in _steps(tasks):
                pieces = [Piece(task, partial(self._carry_out, task, check)) for task in step]
                if step[0].name != heading:
                    heading = step[0].name
                    self._callback(Event(EventKind.TASK, heading))
                begun_before = len(self._begun)
                try:
                    self._lanes.carry_out(pieces)
                finally:
                    self._begun[begun_before:] = sorted(self._begun[begun_before:], key=step.index)
                    self._tell(pieces, recap)
                _raise_any([piece.error for piece in pieces if piece.error is not None])
        except BaseException as error:
            failed = [piece for piece in pieces if piece.error is not None] or pieces[-1:]
            for piece in failed:
                recap.setdefault(piece.task.node, Counter())[EventKind.FAILED] += 1
                message = str(piece.error or error) or type(piece.error or error).__name__
                self._callback(Event(EventKind.FAILED, piece.task.name, piece.task.node, message))
            self._finish(recap)
            if not check:
                self._undo_after(error)
            raise
        self._finish(recap)
        return {node: dict(counts) for node, counts in recap.items()}

    def _carry_out(self, task: Task, check: bool) -> _Outcome:
        """On the thread of the task's lane."""
        reason = task.skip_reason()
        if reason is not None:
            return _Outcome(EventKind.SKIPPED, message=reason)
        changes = task.diff(task.observe(self._context))
        if changes and not check:
            if task not in self._begun:
                self._begun.append(task)
            task.apply(self._context, changes)
            task.verify(self._context)
        return _Outcome(EventKind.CHANGED if changes else EventKind.OK, tuple(changes))

    def _tell(self, pieces: Iterable[Piece[_Outcome]], recap: dict[str, Counter[str]]) -> None:
        """What has ended well, in the order of the tasks."""
        for piece in pieces:
            if piece.result is None or piece.error is not None:
                continue
            task, outcome = piece.task, piece.result
            recap.setdefault(task.node, Counter())[outcome.kind] += 1
            known = (outcome.kind, task.name, task.node, outcome.message, outcome.changes, piece.duration_ns)
            self._callback(Event(*known))

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
        for step in _steps(task for task in chosen if task.container is None or task.container not in removed):
            pieces = [Piece(task, partial(task.undo, self._context)) for task in step]
            try:
                self._lanes.carry_out(pieces, keep_going=True)
            except KeyboardInterrupt as error:
                interruption = error
            for piece in pieces:
                name, node = piece.task.name, piece.task.node
                if piece.error is not None:
                    failures.append(f"{name} [{node}]: {piece.error}")
                    continue
                if not piece.task.stays:
                    self._callback(Event(EventKind.UNDONE, name, node, duration_ns=piece.duration_ns))
        if interruption is not None:
            raise interruption
        if failures:
            raise CleanupError("could not be undone: " + "; ".join(failures) + "; `harness clean` tries again")

    def close(self) -> None:
        """End the engine's threads."""
        self._lanes.close()


def _steps(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    """Consecutive tasks that go together; the others one by one."""
    for _, step in groupby(tasks, lambda task: (task.together, None if task.together is not None else id(task))):
        yield list(step)


def _raise_any(errors: Sequence[BaseException]) -> None:
    if errors:
        raise errors[0] if len(errors) == 1 else SeveralFailed(errors)
