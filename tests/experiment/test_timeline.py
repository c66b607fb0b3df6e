from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from harness.experiment.timeline import Carried, Entry, Timeline


def soon(milliseconds: float = 0) -> int:
    return time.monotonic_ns() + round(milliseconds * 1e6)


class Journal:
    """Remembers what was journalled; `wait` returns when there are so many."""

    def __init__(self) -> None:
        self.lines: list[Carried] = []
        self._changed = threading.Condition()

    def __call__(self, carried: Carried) -> None:
        with self._changed:
            self.lines.append(carried)
            self._changed.notify()

    def wait(self, number: int) -> list[Carried]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.lines) >= number, 20.0)
        return self.lines


def act(text: str = "done") -> Callable[[], str]:
    return lambda: text


def test_entries_are_carried_out_in_order_and_never_before_their_time() -> None:
    journal = Journal()
    at_ns = soon(30)
    order: list[str] = []

    def note(name: str) -> Callable[[], str]:
        return lambda: order.append(name) or name  # type: ignore[func-returns-value]

    entries = [Entry(at_ns + 1, "b", note("b")), Entry(at_ns, "a1", note("a1")), Entry(at_ns, "a2", note("a2"))]
    timeline = Timeline(entries, journal)
    timeline.start()
    lines = journal.wait(3)
    assert order == ["a1", "a2", "b"]
    assert all(line.started_ns >= line.entry.at_ns and line.ended_ns >= line.started_ns for line in lines)
    assert [line.text for line in lines] == order
    assert timeline.stop() == timeline.stop()
    assert [line.entry.name for line in timeline.carried] == order


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """That this machine is busy is no doubt."""
    monkeypatch.setattr("harness.experiment.timeline.LATE_NS", 3_600_000_000_000)


def test_an_exception_is_a_doubt_and_the_rest_goes_on(patient: None) -> None:
    journal = Journal()

    def fail() -> str:
        raise OSError(95, "no such thing")

    timeline = Timeline([Entry(soon(), "first", fail, phase="fault"), Entry(soon(), "second", act())], journal)
    timeline.start()
    lines = journal.wait(2)
    assert timeline.stop() == ("first: OSError: [Errno 95] no such thing",)
    assert lines[0].error is not None
    assert lines[0].entry.phase == "fault"
    assert "failed" in lines[0].describe()
    assert lines[1].error is None


def test_an_act_that_hangs_ends_the_timeline_and_not_the_caller() -> None:
    journal = Journal()
    release = threading.Event()
    timeline = Timeline(
        [
            Entry(soon(), "hangs", lambda: str(release.wait(20)), deadline_ns=30_000_000),
            Entry(soon(), "after", act()),
        ],
        journal,
    )
    timeline.start()
    journal.wait(1)
    try:
        doubts = timeline.stop()
    finally:
        release.set()
    assert doubts == ("hangs: did not end within 0.03 s", "after: not carried out, the run ended before")
    assert [line.entry.name for line in journal.lines] == ["hangs"]


def test_what_is_left_at_the_end_is_not_carried_out_and_a_doubt() -> None:
    called = threading.Event()
    timeline = Timeline([Entry(soon(60_000), "later", lambda: str(called.set()))], Journal())
    timeline.start()
    assert timeline.stop() == ("later: not carried out, the run ended before",)
    assert not called.is_set()


def test_what_is_not_required_may_be_left_over() -> None:
    timeline = Timeline([Entry(soon(60_000), "later", act(), is_required=False)], Journal())
    timeline.start()
    assert timeline.stop() == ()
    assert timeline.carried == ()


def test_a_timeline_that_never_started_can_be_stopped() -> None:
    assert Timeline([], Journal()).stop() == ()


def test_an_entry_may_be_added_while_it_waits_for_a_later_one() -> None:
    journal = Journal()
    timeline = Timeline([Entry(soon(60_000), "later", act())], journal)
    timeline.start()
    timeline.add(Entry(soon(), "now", act()))
    assert journal.wait(1)[0].entry.name == "now"
    timeline.stop()


def test_beginning_late_is_a_doubt() -> None:
    journal = Journal()
    timeline = Timeline([Entry(soon(-500), "late", act())], journal)
    timeline.start()
    journal.wait(1)
    [doubt] = timeline.stop()
    assert "late: began" in doubt
    assert "ms late" in doubt


@pytest.mark.parametrize("broken", [ValueError("closed"), OSError("disk full")])
def test_a_journal_that_fails_is_a_doubt(patient: None, broken: Exception) -> None:
    done = threading.Event()

    def journal(carried: Carried) -> None:
        if carried.entry.name == "first":
            raise broken
        done.set()

    timeline = Timeline([Entry(soon(), "first", act()), Entry(soon(), "second", act())], journal)
    timeline.start()
    assert done.wait(20.0)
    assert timeline.stop() == (f"first: not journalled: {broken}",)
