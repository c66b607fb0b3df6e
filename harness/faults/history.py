"""What the faults of a run really did, and when: journalled as it happens, and kept for the checker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.faults.schedule import Fault

NOT_REACHED, BEGUN, OVER, FAILED = "not reached", "begun", "over", "failed"

Journal = Callable[[str, str, int], object]
"""(phase of the event log, text, CLOCK_MONOTONIC ns)."""


@dataclass(frozen=True)
class Happened:
    """One fault of the schedule. `state` is one of the names above; times are CLOCK_MONOTONIC, None where it did not
    come to that. `attempt` is the migration under way (from 1; 0: none yet) and `during` the controller's phase then.
    """

    fault: Fault
    state: str = NOT_REACHED
    begun_ns: int | None = None
    over_ns: int | None = None
    attempt: int = 0
    during: str = ""
    detail: str = ""

    @property
    def has_begun(self) -> bool:
        return self.begun_ns is not None

    def describe(self) -> str:
        """One line."""
        during = f" (attempt {self.attempt}, {self.during})" if self.during else ""
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.fault.describe()}{during}: {self.state}{detail}"


class History:
    """One entry per fault, in the order of the schedule. May be used from several threads; the journal never raises
    into who reports a fault.
    """

    def __init__(self, schedule: tuple[Fault, ...], journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._entries = [Happened(fault) for fault in schedule]

    @property
    def entries(self) -> tuple[Happened, ...]:
        with self._lock:
            return tuple(self._entries)

    def begun(self, index: int, attempt: int, during: str, detail: str, at_ns: int | None = None) -> None:
        """A fault has begun; one that does not last is over as well."""
        lasts = self._entries[index].fault.for_ns > 0
        moment_ns = time.monotonic_ns() if at_ns is None else at_ns
        self._set(
            index,
            "begins",
            moment_ns,
            state=BEGUN if lasts else OVER,
            begun_ns=moment_ns,
            over_ns=None if lasts else moment_ns,
            attempt=attempt,
            during=during,
            detail=detail,
        )

    def over(self, index: int, detail: str = "") -> None:
        """What a fault did has been undone."""
        now_ns = time.monotonic_ns()
        kept = self._entries[index].detail
        self._set(index, "is over", now_ns, state=OVER, over_ns=now_ns, detail="; ".join(filter(None, (kept, detail))))

    def failed(self, index: int, why: str) -> None:
        """A fault could not be carried out or undone."""
        self._set(index, f"failed: {why}", time.monotonic_ns(), state=FAILED, detail=why)

    def _set(self, index: int, what: str, moment_ns: int, **changes: object) -> None:
        with self._lock:
            entry = self._entries[index]
            self._entries[index] = Happened(**{**vars(entry), **changes})
        fault = entry.fault
        detail = str(changes.get("detail") or "")
        text = f"{fault.describe()} {what}" + (f": {detail}" if detail and "failed" not in what else "")
        self._journal(f"fault.{fault.target}.{fault.action}", text, moment_ns)
