"""Work of tasks on threads of its own: lanes side by side, what belongs to one lane in order, all within deadlines."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from harness.errors import DeadlineExceeded
from harness.provision.task import Task

Result = TypeVar("Result")

LOOK_S = 0.2
"""A signal that comes just before a wait does not end it; it is then noticed after so long."""


@dataclass
class Piece(Generic[Result]):
    """A piece of work of a task, and how it ended: with a result, with an error, or with neither: it was not begun."""

    task: Task
    work: Callable[[], Result]
    result: Result | None = None
    error: BaseException | None = None
    duration_ns: int = 0


@dataclass
class _AtWork:
    piece: Piece[Any]
    started_ns: int
    ends_s: float
    future: Future[Any] | None = None


class Lanes:
    """A thread for every lane that tasks name, kept from one call to the next."""

    def __init__(self) -> None:
        self._executors: dict[str, ThreadPoolExecutor] = {}

    def carry_out(self, pieces: Sequence[Piece[Any]], keep_going: bool = False) -> None:
        """Carry all pieces out and write into each how it ended. A lane ends at its first failure, the others go on.

        A KeyboardInterrupt breaks off what is at work, waits until that has ended, begins nothing more and is raised
        again. With `keep_going` every piece is tried, whatever fails or interrupts before it; it has to bear being done
        twice.
        """
        step = _Step(self, pieces, keep_going)
        while True:
            try:
                step.carry_on()
                break
            except KeyboardInterrupt as error:
                step.interrupt(error)
        if step.interruption is not None:
            raise step.interruption

    def executor(self, lane: str) -> ThreadPoolExecutor:
        """The lane's executor, its thread running.

        The thread is started by work that does nothing: an executor interrupted while its first thread starts would
        start a second one later, and waiting for that one says nothing about the task the first one is at.
        """
        executor = self._executors.get(lane)
        if executor is None:
            executor = ThreadPoolExecutor(1, thread_name_prefix=f"provision-{lane}")
            executor.submit(lambda: None).result()
            self._executors[lane] = executor
        return executor

    def abandon(self, lane: str) -> None:
        """Leave a thread that hangs to itself; what comes next in its lane gets a new one."""
        executor = self._executors.pop(lane, None)
        if executor is not None:
            executor.shutdown(wait=False)

    def close(self) -> None:
        """End all threads, once each has finished what it is at."""
        for executor in self._executors.values():
            executor.shutdown(wait=True)
        self._executors.clear()


class _Step:
    """Pieces under way. An interruption may come between any two lines of `carry_on`, which can be called again."""

    def __init__(self, lanes: Lanes, pieces: Sequence[Piece[Any]], keep_going: bool) -> None:
        self.interruption: KeyboardInterrupt | None = None
        self._lanes, self._keep_going = lanes, keep_going
        self._waiting: dict[str, deque[Piece[Any]]] = {}
        self._at_work: dict[str, _AtWork] = {}
        for piece in pieces:
            self._waiting.setdefault(piece.task.lane, deque()).append(piece)

    def carry_on(self) -> None:
        while True:
            for lane in self._waiting:
                self._begin(lane)
            if not self._at_work:
                return
            futures = {work.future: lane for lane, work in self._at_work.items() if work.future is not None}
            left_s = min(work.ends_s for work in self._at_work.values()) - time.monotonic()
            wait(futures, timeout=min(LOOK_S, max(0.0, left_s)), return_when=FIRST_COMPLETED)
            for lane in futures.values():
                self._look(lane)

    def interrupt(self, error: KeyboardInterrupt) -> None:
        """Break off what is at work, with its whole deadline for that."""
        self.interruption = error
        if not self._keep_going:
            self._waiting.clear()
        for work in list(self._at_work.values()):
            work.ends_s = time.monotonic() + work.piece.task.deadline_s
            if not self._keep_going:
                work.piece.error = error
            work.piece.task.cancel()
            if work.future is None:
                # It may have been handed over or not. What nothing may be left out of can be done twice; for the rest
                # its thread is idle once it has done nothing.
                again = work.piece.work if self._keep_going else lambda: None
                work.future = self._lanes.executor(work.piece.task.lane).submit(again)

    def _begin(self, lane: str) -> None:
        """Hand over what comes next in a lane that is idle."""
        if lane in self._at_work or not self._waiting[lane]:
            return
        piece = self._waiting[lane][0]
        work = _AtWork(piece, time.monotonic_ns(), time.monotonic() + piece.task.deadline_s)
        self._at_work[lane] = work
        self._waiting[lane].popleft()
        work.future = self._lanes.executor(lane).submit(piece.work)

    def _look(self, lane: str) -> None:
        """Take what has ended, and leave what is late."""
        work = self._at_work[lane]
        piece, future = work.piece, work.future
        assert future is not None
        if future.done():
            piece.error = piece.error or future.exception()
            piece.result = future.result() if future.exception() is None else None
        elif time.monotonic() >= work.ends_s:
            self._lanes.abandon(lane)
            late = f"{piece.task.name} [{piece.task.node}]: not finished within {piece.task.deadline_s:g} s"
            piece.error = piece.error or DeadlineExceeded(late)
        else:
            return
        piece.duration_ns = time.monotonic_ns() - work.started_ns
        if piece.error is not None and not self._keep_going:
            self._waiting.pop(lane, None)
        del self._at_work[lane]
