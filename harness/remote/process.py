"""A process on another host, with the interface of one that was started here."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import DeadlineExceeded
from harness.provision.connections.spawned import ProcessFailed, RunningProcess
from harness.remote.session import RemoteCallFailed, RemoteHost
from harness.testbed.site import SiteLost

LOST_STATUS = 255
"""Exit status of a process whose host is lost, as of a command of ssh(1)."""
_BEYOND_S = 10.0


class RemoteProcess(RunningProcess):
    """`number` names it to the agent. What the agent tells of it comes in by `heard` and `ended`."""

    def __init__(self, remote: RemoteHost, number: int, argv: Sequence[str], log_path: Path) -> None:
        super().__init__(0, argv, log_path)
        self._remote, self._number = remote, number
        self._status: int | None = None
        self._over = threading.Event()

    def heard(self, event: dict[str, Any]) -> None:
        """An event of the process."""
        self._events.put(event)

    def ended(self, status: int) -> None:
        """The process has ended, or is out of reach for good."""
        if not self._over.is_set():
            self._status = status
            self._over.set()
            self._events.put(None)

    @property
    def returncode(self) -> int | None:
        return self._status

    def send(self, command: Mapping[str, Any]) -> None:
        try:
            self._remote.call("command", process=self._number, command=dict(command))
        except RemoteCallFailed as error:
            raise ProcessFailed(str(error)) from error

    def signal(self, number: int) -> None:
        self._remote.call("signal", process=self._number, number=number)

    def stop(self, timeout_s: float = 2.0) -> int:
        if not self._over.is_set():
            try:
                answer = self._remote.call("stop", timeout_s + _BEYOND_S, process=self._number, timeout_s=timeout_s)
                self.ended(int(answer["status"]))
            except (SiteLost, DeadlineExceeded, KeyError, ValueError):
                self.ended(LOST_STATUS)
        return self._status if self._status is not None else LOST_STATUS

    def _title(self) -> str:
        return f"process {self.pid} ({' '.join(self.argv[:4])}) on host {self._remote.host.name}"
