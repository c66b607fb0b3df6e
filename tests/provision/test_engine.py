from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

from harness.errors import CleanupError, DeadlineExceeded
from harness.provision.connections.local import LocalConnection
from harness.provision.engine import Engine, Event, EventKind, SeveralFailed
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


def test_an_interruption_waits_for_the_task_at_work_and_then_undoes_it(engine: Engine) -> None:
    world: dict[str, Any] = {}
    interrupted = threading.Event()

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupted.wait(5)

    task = FakeTask("slow", world, on_apply=interrupt, on_cancel=interrupted.set)
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


LANES = ("n1", "n2", "n3")


def on_all(title: str, world: dict[str, Any], **given: Any) -> list[FakeTask]:
    return [FakeTask(f"{title} {lane}", world, lane, together=title, lane=lane, **given) for lane in LANES]


def entries(world: dict[str, Any], step: str) -> list[str]:
    return [entry for entry in world["log"] if entry.startswith(step)]


def test_what_goes_together_is_done_side_by_side_and_told_in_order(engine: Engine, recorder: Recorder) -> None:
    """Nobody passes the barrier alone; the task after it comes when all have passed."""
    world: dict[str, Any] = {}
    all_there = threading.Barrier(len(LANES), timeout=5)
    recap = engine.run("play", [*on_all("a", world, on_apply=all_there.wait), *on_all("b", world)])
    assert recap == {lane: {"changed": 2} for lane in LANES}
    first_of_b = world["log"].index("observe b n1")
    assert all(world["log"].index(f"verify a {lane}") < first_of_b for lane in LANES)
    told = [event.node for event in recorder.events if event.kind is EventKind.CHANGED]
    assert told == [*LANES, *LANES]
    assert [task.node for task in engine.begun] == [*LANES, *LANES]


def test_undoing_goes_side_by_side_too_and_in_reverse(engine: Engine) -> None:
    world: dict[str, Any] = {}
    all_there = threading.Barrier(len(LANES), timeout=5)
    engine.run("play", [*on_all("a", world), *on_all("b", world, on_undo=all_there.wait)])
    engine.undo()
    undone = entries(world, "undo")
    assert {entry.split()[1] for entry in undone[:3]} == {"b"}
    assert {entry.split()[1] for entry in undone[3:]} == {"a"}
    assert engine.begun == ()


def test_a_lane_does_one_thing_at_a_time_and_in_order(engine: Engine) -> None:
    world: dict[str, Any] = {}
    tasks = [FakeTask(title, world, title, together="x", lane="one") for title in ("a", "b")]
    engine.run("play", tasks)
    engine.undo()
    assert entries(world, "apply") + entries(world, "undo") == ["apply a", "apply b", "undo b", "undo a"]
    assert world["log"].index("verify a") < world["log"].index("observe b")


def test_the_others_finish_what_one_fails_at_and_then_all_is_undone(engine: Engine, recorder: Recorder) -> None:
    world: dict[str, Any] = {}
    failed, tasks = threading.Event(), on_all("b", world)
    tasks[0].fail_at = "apply"
    tasks[0].on_apply = failed.set
    tasks[1].on_apply = lambda: failed.wait(5) or pytest.fail("not side by side")
    with pytest.raises(OSError, match="apply of b n1 fails"):
        engine.run("play", [*on_all("a", world), *tasks, *on_all("never", world)])
    assert set(entries(world, "verify b")) == {"verify b n2", "verify b n3"}
    assert not entries(world, "observe never")
    assert [key for key in world if key != "log"] == []
    assert recorder.events[-1 - len(entries(world, "undo"))].recap == {
        "n1": {"ok": 0, "changed": 1, "skipped": 0, "failed": 1},
        "n2": {"ok": 0, "changed": 2, "skipped": 0, "failed": 0},
        "n3": {"ok": 0, "changed": 2, "skipped": 0, "failed": 0},
    }


def test_several_failures_are_raised_as_one(engine: Engine, recorder: Recorder) -> None:
    world: dict[str, Any] = {}
    tasks = on_all("a", world)
    tasks[0].fail_at, tasks[2].fail_at = "observe", "verify"
    with pytest.raises(SeveralFailed, match=r"observe of a n1 fails; .*verify of a n3 fails") as caught:
        engine.run("play", tasks)
    assert (len(caught.value.errors), caught.value.exit_code) == (2, 1)
    assert [event.node for event in recorder.events if event.kind is EventKind.FAILED] == ["n1", "n3"]
    assert [key for key in world if key != "log"] == []


def test_a_lane_stops_at_its_first_failure(engine: Engine) -> None:
    world: dict[str, Any] = {}
    tasks = [FakeTask(title, world, title, together="x", lane="one") for title in ("a", "b")]
    tasks[0].fail_at = "observe"
    with pytest.raises(OSError, match="observe of a"):
        engine.run("play", tasks)
    assert world["log"] == ["observe a"]


def test_one_that_hangs_does_not_hold_up_the_others(engine: Engine) -> None:
    world: dict[str, Any] = {}
    release, tasks = threading.Event(), on_all("a", world)
    tasks[1].hang, tasks[1].deadline_s = release, 0.02
    try:
        with pytest.raises(DeadlineExceeded, match="task a n2"):
            engine.run("play", tasks)
        assert {"undo a n1", "undo a n2", "undo a n3"} == set(entries(world, "undo"))
    finally:
        release.set()


def test_an_interruption_breaks_off_all_that_is_at_work_and_undoes_it(engine: Engine) -> None:
    world: dict[str, Any] = {}
    all_there = threading.Barrier(len(LANES), timeout=5)
    cancelled = {lane: threading.Event() for lane in LANES}

    def wait_in(lane: str) -> None:
        if all_there.wait() == 0:
            os.kill(os.getpid(), signal.SIGINT)
        assert cancelled[lane].wait(5)

    tasks = [
        FakeTask(
            lane,
            world,
            lane,
            together="a",
            lane=lane,
            on_apply=lambda lane=lane: wait_in(lane),  # type: ignore[misc]
            on_cancel=cancelled[lane].set,
        )
        for lane in LANES
    ]
    with pytest.raises(Interrupted), interruptible():
        engine.run("play", [*tasks, *on_all("never", world)])
    assert not entries(world, "observe never")
    assert set(entries(world, "undo")) == {f"undo {lane}" for lane in LANES}
    assert [key for key in world if key != "log"] == []


def test_an_interruption_of_the_undoing_leaves_nothing_out(engine: Engine) -> None:
    world: dict[str, Any] = {}
    interrupted = threading.Event()

    def interrupt() -> None:
        if not interrupted.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            assert interrupted.wait(5)

    last = FakeTask("b", world, on_undo=interrupt, on_cancel=interrupted.set)
    engine.run("play", [*on_all("a", world), last])
    with pytest.raises(Interrupted), interruptible():
        engine.undo()
    assert [key for key in world if key != "log"] == []
    assert engine.begun == ()
