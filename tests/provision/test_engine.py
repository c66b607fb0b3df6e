from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

from harness.errors import CleanupError, DeadlineExceeded
from harness.provision.connections.local import LocalConnection
from harness.provision.engine import Engine, Event, EventKind
from harness.provision.interrupt import Interrupted, interruptible
from harness.provision.ownership import Ownership
from harness.provision.task import Context
from tests.provision.contract import FakeTask


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def kinds(self) -> list[str]:
        return [str(event.kind) for event in self.events]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def engine(recorder: Recorder) -> Engine:
    return Engine(Context(LocalConnection(), Ownership.preview("unittest")), recorder)


def test_runs_in_order_and_reports_each_step(engine: Engine, recorder: Recorder) -> None:
    world: dict[str, Any] = {"b": "present"}
    recap = engine.run("play", [FakeTask("a", world, "n1"), FakeTask("b", world, "n2")])
    assert recorder.kinds() == ["play", "task", "changed", "task", "ok", "recap"]
    assert recap == {"n1": {"changed": 1}, "n2": {"ok": 1}}
    assert world["log"] == ["observe a", "apply a", "verify a", "observe a", "observe b"]
    assert recorder.events[-1].recap["n1"] == {"ok": 0, "changed": 1, "skipped": 0, "failed": 0}


def test_a_second_run_changes_nothing(engine: Engine) -> None:
    world: dict[str, Any] = {}
    tasks = [FakeTask("a", world), FakeTask("b", world)]
    engine.run("play", tasks)
    assert engine.run("play", tasks) == {"node": {"ok": 2}}


def test_check_tells_the_changes_and_makes_none(engine: Engine, recorder: Recorder) -> None:
    world: dict[str, Any] = {}
    engine.run("play", [FakeTask("a", world)], check=True)
    assert "a" not in world
    assert world["log"] == ["observe a"]
    (changed,) = [event for event in recorder.events if event.kind is EventKind.CHANGED]
    assert [change.line() for change in changed.changes] == ["a: absent -> present"]
    assert engine.begun == ()


@pytest.mark.parametrize("step", ["apply", "verify"])
def test_an_error_undoes_in_reverse_what_was_begun_and_nothing_else(
    engine: Engine, recorder: Recorder, step: str
) -> None:
    world: dict[str, Any] = {"there": "present"}
    tasks = [
        FakeTask("a", world),
        FakeTask("there", world),
        FakeTask("b", world),
        FakeTask("bad", world, fail_at=step),
        FakeTask("never", world),
    ]
    with pytest.raises(OSError, match=f"{step} of bad fails"):
        engine.run("play", tasks)
    assert [entry for entry in world["log"] if entry.startswith("undo")] == ["undo bad", "undo b", "undo a"]
    assert world["there"] == "present"
    assert "observe never" not in world["log"]
    (failed,) = [event for event in recorder.events if event.kind is EventKind.FAILED]
    assert "of bad fails" in failed.message
    assert engine.begun == ()


def test_a_task_that_fails_before_changing_anything_is_not_undone(engine: Engine) -> None:
    world: dict[str, Any] = {}
    with pytest.raises(OSError, match="observe of bad"):
        engine.run("play", [FakeTask("a", world), FakeTask("bad", world, fail_at="observe")])
    assert "undo bad" not in world["log"]
    assert "undo a" in world["log"]


def test_an_interruption_waits_for_the_task_at_work_and_then_undoes_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    world: dict[str, Any] = {}
    interrupted = threading.Event()
    wait = engine._wait_until_idle

    def note_and_wait(deadline_s: float) -> None:
        interrupted.set()
        wait(deadline_s)

    monkeypatch.setattr(engine, "_wait_until_idle", note_and_wait)

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupted.wait(5)

    task = FakeTask("slow", world, on_apply=interrupt)
    with pytest.raises(Interrupted), interruptible():
        engine.run("play", [task])
    assert world["log"] == ["observe slow", "apply slow", "verify slow", "observe slow", "undo slow"]
    assert "slow" not in world


def test_a_deadline_is_kept_and_what_hangs_is_undone(engine: Engine) -> None:
    world: dict[str, Any] = {}
    release = threading.Event()
    task = FakeTask("slow", world, hang=release)
    task.deadline_s = 0.02
    try:
        with pytest.raises(DeadlineExceeded, match="task slow"):
            engine.run("play", [FakeTask("a", world), task])
        assert "a" not in world
    finally:
        release.set()


def test_what_lives_in_a_namespace_that_goes_is_not_undone_by_itself(engine: Engine) -> None:
    world: dict[str, Any] = {}
    engine.run(
        "play",
        [FakeTask("ns", world, provides="ns1"), FakeTask("inside", world, container="ns1"), FakeTask("x", world)],
    )
    engine.undo()
    assert [entry for entry in world["log"] if entry.startswith("undo")] == ["undo x", "undo ns"]


def test_what_lives_in_a_namespace_of_someone_else_is_undone(engine: Engine) -> None:
    world: dict[str, Any] = {}
    engine.run("play", [FakeTask("inside", world, container="foreign")])
    engine.undo()
    assert "inside" not in world


def test_tear_down_goes_on_after_a_failure_and_names_it(engine: Engine) -> None:
    world: dict[str, Any] = {}
    engine.run("play", [FakeTask("a", world), FakeTask("stuck", world, fail_at="undo"), FakeTask("c", world)])
    with pytest.raises(CleanupError, match="undo of stuck fails"):
        engine.undo()
    assert "a" not in world
    assert "c" not in world


def test_the_first_error_is_raised_even_when_tear_down_fails_too(engine: Engine) -> None:
    world: dict[str, Any] = {}
    with pytest.raises(OSError, match="apply of bad") as caught:
        engine.run("play", [FakeTask("stuck", world, fail_at="undo"), FakeTask("bad", world, fail_at="apply")])
    assert any("undo of stuck" in note for note in caught.value.__notes__)


def test_only_the_chosen_tasks_are_undone(engine: Engine) -> None:
    world: dict[str, Any] = {}
    keep, end = FakeTask("keep", world), FakeTask("end", world)
    engine.run("play", [keep, end])
    engine.undo(only=lambda task: task is end)
    assert "keep" in world
    assert "end" not in world
    assert engine.begun == (keep,)
