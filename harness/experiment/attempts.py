"""The migrations of one run: one, or as many as it takes until one gets past its switchover, within a bound.

Between two attempts everything has to be as before the first: faults over, what was killed rebooted (never the source:
its state is gone with it), control connections standing, the source serving and the destination in standby.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from harness.errors import HarnessError
from harness.experiment.migration import Controls
from harness.experiment.processes import LATENCY
from harness.migration.outcome import MigrationOutcome
from harness.migration.phases import InstancePhase
from harness.testbed import topology as names

READY_AGAIN_S = 15.0
"""For the control connections to come back after the faults: a TCP connection that was cut sends again after up to
twice the time of the cut."""
_POLL_S = 0.02
_WANTED = {names.SOURCE: InstancePhase.LIVE.value, names.DESTINATION: InstancePhase.STANDBY.value}


class Processes(Protocol):
    """What an attempt needs of the run's processes."""

    def has_ended(self, title: str) -> bool: ...

    def reboot(self, title: str) -> int | None:
        """Start it anew; its control port, None where it has none. HarnessError."""


class Attempts:
    """`over`: waits until nothing disturbs any more and says whether it does not; `note`: journals a line."""

    def __init__(
        self,
        limit: int,
        controls: Controls,
        processes: Processes,
        over: Callable[[float], bool],
        note: Callable[[str], None],
    ) -> None:
        self._limit, self._controls, self._processes = limit, controls, processes
        self._over, self._note = over, note

    def carry_out(self, migrate_once: Callable[[int], MigrationOutcome]) -> MigrationOutcome:
        """The last attempt's outcome, with the others in `earlier`. migrate_once gets the number, from 1."""
        outcomes: list[MigrationOutcome] = []
        for number in range(1, self._limit + 1):
            outcomes.append(migrate_once(number))
            last = outcomes[-1]
            if last.outcome == "completed" or last.moved or number == self._limit:
                break
            try:
                self._make_ready()
            except HarnessError as error:
                self._note(f"no further attempt: {error}")
                break
        return outcomes[-1].model_copy(update={"earlier": outcomes[:-1]})

    def _make_ready(self) -> None:
        """HarnessError saying why another attempt cannot be made."""
        if not self._over(READY_AGAIN_S):
            raise HarnessError("a fault did not end")
        deadline = time.monotonic() + READY_AGAIN_S
        reason = ""
        while time.monotonic() < deadline:
            if self._processes.has_ended(names.SOURCE):
                raise HarnessError("the source has ended; its state is lost")
            for title in (LATENCY, names.DESTINATION):
                if self._processes.has_ended(title):
                    self._reboot(title)
            reason = self._not_ready()
            if not reason:
                self._note("source live, destination in standby: ready for another attempt")
                return
            time.sleep(_POLL_S)
        raise HarnessError(f"not ready within {READY_AGAIN_S:g} s: {reason}")

    def _reboot(self, title: str) -> None:
        port = self._processes.reboot(title)
        self._note(f"{title} rebooted")
        if port is not None:
            self._controls.moved(title, port)

    def _not_ready(self) -> str:
        """Empty when both instances are in the phase they have to be in."""
        for node, wanted in _WANTED.items():
            try:
                phase = self._controls.phase(node)
            except HarnessError as error:
                return str(error)
            if phase != wanted:
                return f"the {node} is in phase {phase}, not {wanted}"
        return ""
