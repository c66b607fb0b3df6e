"""The other hosts of a testbed, asked together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from harness.provision.engine import Callback
from harness.testbed.counters import FabricCounters
from harness.testbed.placement import Placement
from harness.testbed.site import Site
from harness.testbed.topology import Topology

Result = TypeVar("Result")


class Sites:
    """In the order they were given in; empty where all nodes are here. Errors as `Site`; of several the first is
    raised, when all have come to an end."""

    def __init__(self, sites: Sequence[Site], placement: Placement) -> None:
        self._sites, self._placement = tuple(sites), placement

    def __iter__(self) -> Iterator[Site]:
        return iter(self._sites)

    def of(self, node: str) -> Site | None:
        """The other host that a node is on; None for a node of this one."""
        host = self._placement.host_of(node)
        return next((site for site in self._sites if site.name == host), None)

    def path(self, node: str, path: Path) -> Path:
        """What a process on the node has to be told in place of a path in the run's folder."""
        site = self.of(node)
        return path if site is None else site.path(path)

    # -- nodes ------------------------------------------------------------------------------------------------------

    def build(self, topology: Topology, check: bool, callback: Callback) -> dict[str, dict[str, int]]:
        """Build the nodes of all hosts side by side; the events are told host by host. Returns the recap."""
        recap: dict[str, dict[str, int]] = {}
        for built in self._each(lambda site: site.build(topology, check)):
            for event in built.events:
                callback(event)
            recap.update({node: dict(counts) for node, counts in built.recap.items()})
        return recap

    def tear_down(self) -> None:
        """Undo everything there."""
        self._each(lambda site: site.tear_down())

    # -- a run ------------------------------------------------------------------------------------------------------

    def open_folder(self, folder: Path) -> None:
        """Give every host a folder in place of the run's, and find out what its clock says."""
        self._each(lambda site: site.open_folder(folder))

    def put(self, node: str, path: Path) -> Path:
        """Where a process on the node finds a file of this host: there, or copied to its host for this run."""
        site = self.of(node)
        return path if site is None else site.put(path)

    def collect(self) -> None:
        """Fetch what the hosts have of the run's folder. Nothing of it stays there."""
        self._each(lambda site: site.collect())

    def refresh(self) -> None:
        """Bring the status pages of the hosts up to this moment."""
        for site in self._sites:
            site.refresh()

    def counters(self) -> list[FabricCounters]:
        """Those of every host."""
        return [site.counters() for site in self._sites]

    # -- whether they are there -------------------------------------------------------------------------------------

    def when_lost(self, react: Callable[[], None]) -> None:
        """Call `react` when one of the hosts is lost, instead of what was to be called before; it must not wait."""
        for site in self._sites:
            site.when_lost(react)

    def ask(self) -> None:
        """SiteLost unless all of the hosts answer."""
        self._each(lambda site: site.ask())

    def require(self) -> None:
        """SiteLost when one of the hosts is known not to be there any more."""
        for site in self._sites:
            site.require()

    def _each(self, what: Callable[[Site], Result]) -> list[Result]:
        if not self._sites:
            return []
        with ThreadPoolExecutor(len(self._sites), thread_name_prefix="site") as executor:
            return list(executor.map(what, self._sites))
