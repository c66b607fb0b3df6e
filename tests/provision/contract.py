"""What every task promises the engine, stated once and checked against the fake and against each real task."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from harness.provision.task import Change, Context, State, Task


class FakeTask(Task):
    """A task on a dictionary in place of a machine; `fail_at` names its step (observe, apply, ...) that fails."""

    def __init__(
        self,
        title: str,
        world: dict[str, Any],
        node: str = "node",
        container: str | None = None,
        provides: str | None = None,
        fail_at: str = "",
        hang: threading.Event | None = None,
        on_apply: Callable[[], None] = lambda: None,
        on_cancel: Callable[[], None] = lambda: None,
        on_undo: Callable[[], None] = lambda: None,
        together: object = None,
        lane: str = "",
    ) -> None:
        super().__init__(node, container)
        self.together, self.lane = together, lane
        self._on_cancel, self._on_undo = on_cancel, on_undo
        self.name = f"task {title}"
        self.title = title
        self.world = world
        self.fail_at = fail_at
        self.hang = hang
        self.on_apply = on_apply
        self.log: list[str] = world.setdefault("log", [])
        self._provides = provides

    @property
    def provides(self) -> str | None:
        return self._provides

    def _step(self, step: str) -> None:
        self.log.append(f"{step} {self.title}")
        if step == self.fail_at:
            raise OSError(5, f"{step} of {self.title} fails")

    def wanted(self) -> State:
        return {self.title: "present"}

    def observe(self, context: Context) -> State:
        self._step("observe")
        return {self.title: self.world[self.title]} if self.title in self.world else {}

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        if self.hang is not None:
            self.hang.wait()
        self.world[self.title] = "present"
        self.on_apply()
        self._step("apply")

    def verify(self, context: Context) -> None:
        self._step("verify")
        super().verify(context)

    def cancel(self) -> None:
        self._on_cancel()

    def undo(self, context: Context) -> None:
        self._on_undo()
        self._step("undo")
        self.world.pop(self.title, None)


def check_contract(task: Task, context: Context, reversible: bool = True) -> None:
    """Assert that `task`, whose state is not there yet, keeps every promise; leaves it undone.

    `reversible` is False for a task whose undo leaves its things to their namespace.
    """
    task.undo(context)
    before = dict(task.observe(context))
    changes = task.diff(before)
    assert changes, "nothing to do although nothing is there"
    assert task.diff(before) == changes, "diff is not pure"
    assert task.observe(context) == before, "observe changed something"
    task.apply(context, changes)
    task.verify(context)
    assert task.diff(task.observe(context)) == [], "not idempotent"
    task.undo(context)
    task.undo(context)
    if reversible:
        assert task.diff(task.observe(context)) == changes, "undo did not restore what was there before"
