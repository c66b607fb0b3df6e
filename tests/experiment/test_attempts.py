"""How often a run migrates, and what has to be as before first. The instances answer as the test says."""

from __future__ import annotations

from typing import Any, cast

import pytest

from harness.errors import DeadlineExceeded, HarnessError
from harness.experiment import attempts as module
from harness.experiment.attempts import Attempts
from harness.experiment.migration import Controls
from harness.migration.outcome import MigrationOutcome, Switchover


def outcome(name: str, epoch: int, switched: bool = False) -> MigrationOutcome:
    return MigrationOutcome.model_validate(
        {
            "outcome": name,
            "epoch": epoch,
            "mode": "statelet",
            "started_ns": epoch,
            "ended_ns": epoch + 1,
            "phases": [],
            "durations_ns": {},
            "switchover": Switchover(started_ns=1, ended_ns=2) if switched else None,
        }
    )


class Bench:
    """Two instances, their processes, and a migration that goes as `results` say."""

    def __init__(self, *results: tuple[str, bool]) -> None:
        self.results = results
        self.phases: dict[str, list[str]] = {"source": ["live"], "destination": ["standby"]}
        self.ended: set[str] = set()
        self.log: list[str] = []
        self.over = True

    def migrate(self, number: int) -> MigrationOutcome:
        self.log.append(f"migrate {number}")
        name, switched = self.results[number - 1]
        return outcome(name, number, switched)

    def phase(self, node: str) -> str:
        answers = self.phases[node]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer == "silent":
            raise DeadlineExceeded(f"{node}: nothing")
        return answer

    def moved(self, node: str, port: int) -> None:
        self.log.append(f"{node} at {port}")

    def has_ended(self, title: str) -> bool:
        return title in self.ended

    def reboot(self, title: str) -> int | None:
        self.ended.discard(title)
        return None if title == "latency" else 77

    def carry_out(self, limit: int = 3) -> MigrationOutcome:
        controls = cast(Controls, self)
        return Attempts(limit, controls, self, lambda _seconds: self.over, self.log.append).carry_out(self.migrate)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READY_AGAIN_S", 0.3)


@pytest.mark.parametrize("result", [("completed", True), ("failed", True)])
def test_what_is_past_the_switchover_is_not_tried_again(result: tuple[str, bool]) -> None:
    bench = Bench(result)
    last = bench.carry_out()
    assert (last.outcome, last.epoch, last.earlier) == (result[0], 1, [])
    assert bench.log == ["migrate 1"]


def test_an_aborted_attempt_is_followed_by_another_with_the_next_epoch() -> None:
    bench = Bench(("aborted", False), ("failed", False), ("completed", True))
    last = bench.carry_out()
    assert (last.outcome, last.epoch) == ("completed", 3)
    assert [(earlier.outcome, earlier.epoch) for earlier in last.earlier] == [("aborted", 1), ("failed", 2)]
    ready = "source live, destination in standby: ready for another attempt"
    assert bench.log == ["migrate 1", ready, "migrate 2", ready, "migrate 3"]


def test_the_limit_counts_all_attempts() -> None:
    bench = Bench(("aborted", False), ("aborted", False), ("completed", True))
    assert bench.carry_out(2).outcome == "aborted"
    assert [line for line in bench.log if line.startswith("migrate")] == ["migrate 1", "migrate 2"]


def test_what_was_killed_is_started_anew_but_never_the_source() -> None:
    bench = Bench(("aborted", False), ("completed", True))
    bench.ended = {"destination", "latency"}
    assert bench.carry_out().outcome == "completed"
    assert bench.log[1:4] == ["latency rebooted", "destination rebooted", "destination at 77"]
    bench = Bench(("failed", False), ("completed", True))
    bench.ended = {"source"}
    assert bench.carry_out().outcome == "failed"
    assert bench.log == ["migrate 1", "no further attempt: the source has ended; its state is lost"]


def test_instances_that_need_a_while_are_waited_for() -> None:
    bench = Bench(("aborted", False), ("completed", True))
    bench.phases = {"source": ["silent", "snapshot", "live"], "destination": ["buffering", "standby"]}
    assert bench.carry_out().outcome == "completed"


@pytest.mark.parametrize(
    ("phases", "reason"),
    [
        ({"source": ["live"], "destination": ["failed"]}, "the destination is in phase failed, not standby"),
        ({"source": ["closed"], "destination": ["standby"]}, "the source is in phase closed, not live"),
        ({"source": ["silent"], "destination": ["standby"]}, "source: nothing"),
    ],
)
def test_instances_that_are_never_ready_end_it_with_the_reason(phases: Any, reason: str) -> None:
    bench = Bench(("aborted", False), ("completed", True))
    bench.phases = phases
    assert bench.carry_out().outcome == "aborted"
    assert bench.log[-1] == f"no further attempt: not ready within 0.3 s: {reason}"


def test_a_fault_that_does_not_end_ends_the_attempts() -> None:
    bench = Bench(("aborted", False), ("completed", True))
    bench.over = False
    assert bench.carry_out().outcome == "aborted"
    assert bench.log[-1] == "no further attempt: a fault did not end"


def test_a_process_that_cannot_be_started_ends_them_too() -> None:
    bench = Bench(("aborted", False), ("completed", True))
    bench.ended = {"destination"}

    def refuse(title: str) -> int | None:
        raise HarnessError(f"{title} does not start")

    bench.reboot = refuse  # type: ignore[method-assign]
    assert bench.carry_out().outcome == "aborted"
    assert bench.log[-1] == "no further attempt: destination does not start"
