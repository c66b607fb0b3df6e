"""What a testbed asks of another host that carries some of its nodes, whatever lies between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness.errors import HarnessError
from harness.measure.host import HostSample
from harness.provision.connections.spawned import RunningProcess
from harness.provision.engine import Event
from harness.provision.facts import Facts
from harness.testbed.counters import FabricCounters
from harness.testbed.host_links import HostLinks
from harness.testbed.steering import FabricControl
from harness.testbed.topology import Topology


class SiteLost(HarnessError):
    """A host that was there is out of reach; what it carried is gone with it."""


@dataclass(frozen=True)
class SiteClock:
    """CLOCK_MONOTONIC of a host less this one's, and how far that may be off. Processes of a run are put on this
    host's clock by it.
    """

    offset_ns: int
    error_bound_ns: int


@dataclass(frozen=True)
class Built:
    """What building the nodes of a host came to: its events in order, and the recap (node -> result -> count)."""

    events: tuple[Event, ...]
    recap: Mapping[str, Mapping[str, int]]


class Site(Protocol):
    """A host with nodes of the testbed. Every method raises HarnessError with one line naming the host, `SiteLost`
    once the host is not there any more.
    """

    @property
    def name(self) -> str:
        """As the placement calls it."""

    @property
    def facts(self) -> Facts:
        """What the host can do."""

    @property
    def fabric(self) -> FabricControl:
        """The fabric's, where it is on that host."""

    @property
    def links(self) -> HostLinks:
        """Ends of links that are on that host."""

    def build(self, topology: Topology, check: bool) -> Built:
        """Build the host's nodes, or bring them back to what they shall be. check: only say what would change."""

    def tear_down(self) -> None:
        """Undo everything there, processes included; the host can build again. CleanupError."""

    def open_folder(self, folder: Path) -> None:
        """Make the host's own folder in place of the run's `folder`; pages of an earlier one are watched no more."""

    def path(self, path: Path) -> Path:
        """The host's own path in place of one in the run's folder."""

    def put(self, path: Path) -> Path:
        """Copy a file there, for as long as the host's folder is; the host's own path of it."""

    def collect(self) -> None:
        """Fetch every file that was made in the host's folder into the run's, and remove the host's."""

    def spawn(
        self, node: str, title: str, argv: Sequence[str], configuration: Mapping[str, Any], log_path: Path
    ) -> RunningProcess:
        """Start a process of ours on a node; `configuration` is its first command. argv: as on this host."""

    def counters(self) -> FabricCounters:
        """Counters of the host's nodes, on this host's clock."""

    def page(self, path: Path, words: int) -> np.ndarray:
        """int64[words] of a status page of the run's folder, as it was at the last `refresh`."""

    def refresh(self) -> None:
        """Read all pages anew, at one moment."""

    def read_host(self, pids: Mapping[str, int]) -> HostSample:
        """The load of the host and of processes on it, on this host's clock."""

    def clock(self) -> SiteClock:
        """The host's clock as measured for the run's folder at hand, the bound valid to now."""

    def require(self) -> None:
        """SiteLost when the host is known not to be there any more."""

    def when_lost(self, react: Callable[[], None]) -> None:
        """Call `react`, on a thread of the host's, when it is lost, instead of what was to be called before."""

    def ask(self) -> None:
        """SiteLost unless the host answers."""
