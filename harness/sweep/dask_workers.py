"""Testbeds as workers of a Dask scheduler: who is there, who is free, and what became of the run each was given."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.remote.wheel import code_digest
from harness.sweep.dask_settings import RESOURCE
from harness.sweep.many import NOBODY_LEFT, Outcome
from harness.sweep.matrix import Cell, plan_of
from harness.sweep.order import Due
from harness.sweep.remote_run import SLACK_S, carry_out

LOOK_S = 1.0
LATE_S = 60.0
"""Beyond its deadline on the host: a run that has not been heard of then is lost with its host."""
_COMINGS_AND_GOINGS = "all"
"""Topic of Dask's scheduler for them."""

Job = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class _Given:
    key: str
    address: str
    late_s: float


class DaskWorkers:
    """The workers of one scheduler that have the resource `testbed`. Every run is given to one of them by its address,
    so that Dask never moves it by itself: a loss is always seen here, and told with the host's name.

    job: what a worker is asked to do; it has to be importable there.
    """

    def __init__(self, client: Any, sweep: str, keep: str, calibration: str = "cached", job: Job = carry_out) -> None:
        self._client, self._job = client, job
        self._common = {"sweep": sweep, "keep": keep, "calibration": calibration, "digest": code_digest()}
        self._names: dict[str, str] = {}
        self._idle: dict[str, None] = {}
        self._left_out: set[str] = set()
        self._given: dict[str, _Given] = {}
        self._futures: dict[str, Any] = {}
        self._news: queue.SimpleQueue[Callable[[], Outcome | None]] = queue.SimpleQueue()
        self._given_count = 0
        self._cells: dict[str, tuple[float, dict[str, Any]]] = {}
        client.subscribe_topic(_COMINGS_AND_GOINGS, self._heard)
        self._look()

    def free(self) -> int:
        """How many workers could take a run now."""
        return len(self._idle) if self._client.status == "running" else 0

    def give(self, cell: Cell, due: Due) -> None:
        """Hand out a run; does not wait."""
        address = next(iter(self._idle))
        del self._idle[address]
        deadline_s, of_cell = self._asked(cell, due)
        request = {**self._common, **of_cell, "mode": due.run.mode, "repetition": due.run.repetition}
        self._given_count += 1
        name = f"{due.run.key}-{due.attempt}-{self._given_count}"
        self._given[name] = _Given(due.run.key, address, time.monotonic() + deadline_s + LATE_S)
        future = self._client.submit(
            self._job, request, key=name, pure=False, retries=0, workers=[address], resources={RESOURCE: 1}
        )
        self._futures[name] = future
        future.add_done_callback(lambda future: self._fetch(name, future))

    def take(self) -> Outcome:
        """Wait for the next run that ends. HarnessError where no worker is left."""
        while True:
            try:
                outcome = self._news.get(timeout=LOOK_S)()
            except queue.Empty:
                outcome = self._late()
                if outcome is None and not self._given:
                    raise HarnessError(NOBODY_LEFT) from None
            if outcome is not None:
                return outcome

    def _asked(self, cell: Cell, due: Due) -> tuple[float, dict[str, Any]]:
        """(deadline on the host, what is asked of every run of the cell)."""
        if due.run.cell not in self._cells:
            deadline_s = plan_of(cell, due.run).duration_ns / 1e9 * 3 + SLACK_S
            of_cell = {"profile": cell.profile.document(), "cell": due.run.cell, "deadline_s": deadline_s}
            self._cells[due.run.cell] = (deadline_s, of_cell)
        return self._cells[due.run.cell]

    def _fetch(self, name: str, future: Any) -> None:
        """In a thread of the client's: the next results come while the last one is unpacked."""
        try:
            result = future.result(timeout=LATE_S)
        except Exception as error:  # of Dask, of the host, of the connection: the run is lost whatever it was
            result = error
        self._news.put(lambda: self._ended(name, result))

    def _ended(self, name: str, result: Any) -> Outcome | None:
        given = self._given.get(name)
        if given is None:  # its host was lost before
            return None
        if isinstance(result, Exception):
            return self._lost(name, f"lost during the run ({type(result).__name__})")
        archive, error = (result.get("archive"), result.get("error")) if isinstance(result, dict) else (None, result)
        if not isinstance(archive, bytes):
            return self._lost(name, f"cannot carry out a run ({_line(error)})")
        self._forget(name)
        if given.address in self._names:
            self._idle[given.address] = None
        return Outcome(given.key, self._name(given.address), archive=archive)

    def _lost(self, name: str, reason: str) -> Outcome:
        given = self._given[name]
        self._forget(name)
        self._left_out.add(given.address)
        outcome = Outcome(given.key, self._name(given.address), reason=reason)
        self._names.pop(given.address, None)
        return outcome

    def _late(self) -> Outcome | None:
        gone = self._client.status != "running"
        now_s = time.monotonic()
        for name, given in self._given.items():
            if gone:
                return self._lost(name, "lost during the run (its scheduler is gone)")
            if now_s > given.late_s:
                return self._lost(name, "not heard of beyond the run's deadline")
        return None

    def _forget(self, name: str) -> None:
        del self._given[name]
        self._futures.pop(name).release()

    def _name(self, address: str) -> str:
        return self._names.get(address, address)

    def _heard(self, event: tuple[float, Any]) -> None:
        """In the client's thread: what it means is found out where the runs are handed out."""
        message = event[1] if isinstance(event[1], dict) else {}
        if message.get("action") == "remove-worker":
            self._news.put(lambda: self._gone(str(message.get("worker"))))
        elif message.get("action") == "add-worker":
            self._news.put(self._look)

    def _gone(self, address: str) -> Outcome | None:
        self._idle.pop(address, None)
        for name, given in self._given.items():
            if given.address == address:
                return self._lost(name, "lost during the run")
        self._names.pop(address, None)
        return None

    def _look(self) -> None:
        """Who is there."""
        for address, worker in self._client.scheduler_info(n_workers=-1)["workers"].items():
            if worker.get("resources", {}).get(RESOURCE) and address not in self._left_out | set(self._names):
                self._names[address] = _line(worker.get("name"))
                self._idle[address] = None


def _line(text: object) -> str:
    """What another machine says, for one line."""
    return "".join(c if c.isprintable() else "?" for c in str(text))[:300]
