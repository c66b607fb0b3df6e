"""Every counter of a run, wherever it is kept: status pages, links, hosts; and what other hosts have of its files."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from harness.dataplane import engine_state as es
from harness.dataplane.status_page import map_status_page
from harness.errors import HarnessError
from harness.experiment.collect import Reading, passed, take_reading
from harness.experiment.impairments import is_contention
from harness.experiment.processes import LATENCY, PROGRAMS, delay_elements, status_path
from harness.experiment.run_record import RunRecord
from harness.experiment.sampling import LOAD_PAGE_WORDS, map_load_page
from harness.measure.host import read_host
from harness.record.rundir import Folder
from harness.testbed import topology as names
from harness.testbed.site import Site
from harness.testbed.testbed import StartedProcess, Testbed

SETTLE_S = 0.25
"""After the last reply: time for every counter to reach its page."""
READINGS = 10
"""Most at one go: while something goes on and on, no two agree."""
QUIET_WITHIN_S = 3.0
CLOCK_ERROR_MAX_NS = 5_000_000
"""As far as the base RTT is from late: times of different hosts that are further off than that say nothing."""

Processes = Mapping[str, StartedProcess]


class Watch:
    """Of one run. Pages of instances are in the record, those of elements and of processes that have ended here."""

    def __init__(self, testbed: Testbed, record: RunRecord, folder: Folder) -> None:
        self._testbed, self._record, self._folder = testbed, record, folder
        self._past_pages: dict[str, list[np.ndarray]] = {}
        self._elements: list[np.ndarray] = []
        self._element_nodes: list[tuple[str, ...]] = []

    # -- pages ------------------------------------------------------------------------------------------------------

    def map(self, node: str, path: Path) -> np.ndarray:
        """The status page of a process on a node; that of another host's as it was at the last refresh."""
        site = self._testbed.sites.of(node)
        return map_status_page(path) if site is None else site.page(path, es.STATUS_WORDS)

    def map_load(self) -> np.ndarray:
        """The load generator's."""
        path, site = status_path(self._folder.path, names.LOADGEN), self._testbed.sites.of(names.LOADGEN)
        return map_load_page(path) if site is None else site.page(path, LOAD_PAGE_WORDS)

    def map_elements(self, processes: Processes) -> None:
        """Those of what delays, where it has been started."""
        folder = self._folder.path.resolve()
        if self._testbed.generator_nodes:
            self._elements.append(map_status_page(status_path(folder, LATENCY)))
            return
        for title, nodes in delay_elements(self._testbed).items():
            if title in processes:
                self._elements.append(self.map(nodes[0], status_path(folder, title)))
                self._element_nodes.append(nodes)

    def boots(self, title: str) -> int:
        """How many processes there have been in that place."""
        return len(self._past_pages.get(title, [])) + 1

    def rebooted(self, title: str, path: Path) -> None:
        """Another process is in that place; counts go on from those of the ones before."""
        past = self._past_pages.setdefault(title, [])
        fresh = map_status_page(path) if title == LATENCY else self.map(title, path)
        if title == LATENCY:
            past.append(self._elements[-1])
            self._elements.append(fresh)
            self._element_nodes += self._element_nodes[-1:]
        else:
            past.append(self._record.pages[title])
            self._record.pages[title] = fresh

    # -- readings ---------------------------------------------------------------------------------------------------

    def reading(self, processes: Processes) -> Reading:
        """Every counter, of one moment: read again where a frame has passed a link between the first and the last."""
        for _ in range(READINGS):
            reading = self._one_reading(processes)
            if reading.passed == passed(self._testbed.counters()):
                break
        return reading

    def _one_reading(self, processes: Processes) -> Reading:
        pages = {node: [*self._past_pages.get(node, []), page] for node, page in self._record.pages.items()}
        ready = processes[names.SOURCE].ready
        reasons = {int(number): str(name) for number, name in ready["reasons"].items()}
        fabric, nodes = self._testbed.counters(), self._testbed.generator_nodes
        self._testbed.sites.refresh()
        return take_reading(pages, self._elements, fabric, reasons, nodes, self._element_nodes)

    def quiet_reading(self, processes: Processes) -> tuple[Reading, bool]:
        """Counters when the kernel's TCP has no more to say, and whether that moment has come in time."""
        deadline = time.monotonic() + QUIET_WITHIN_S
        last = self.reading(processes)
        while True:
            time.sleep(SETTLE_S)
            reading = self.reading(processes)
            if reading.passed == last.passed:
                return reading, True
            if time.monotonic() > deadline:
                return reading, False
            last = reading

    def pids(self, site: Site | None, processes: Processes) -> dict[str, int]:
        """Process ids on a host by title, to be watched; they change with a reboot. None: on this one."""
        return {
            title: item.process.pid
            for title, item in processes.items()
            if not is_contention(title) and title not in PROGRAMS and self._testbed.sites.of(item.node) is site
        }

    def read_hosts(self, processes: Processes) -> None:
        """What every host has done so far."""
        self._record.host.append(read_host(self.pids(None, processes)))
        for site in self._testbed.sites:
            read = site.read_host(self.pids(site, processes))
            self._record.other_hosts.setdefault(site.name, []).append(read)

    # -- other hosts ------------------------------------------------------------------------------------------------

    def bring_home(self) -> None:
        """The last of the pages and all files of other hosts. What is lost with one is missing, and said to be."""
        if not self._testbed.topology.placement.is_spread:
            return
        try:
            self._testbed.sites.refresh()
            self._testbed.sites.collect()
        except HarnessError as error:
            self._record.doubts.append(str(error))
        for site in self._testbed.sites:
            name, clock = site.name, site.clock()
            self._record.clocks[name] = (self._testbed.topology.nodes_on(name), clock)
            if clock.error_bound_ns > CLOCK_ERROR_MAX_NS:
                bound_ms, limit_ms = clock.error_bound_ns / 1e6, CLOCK_ERROR_MAX_NS / 1e6
                self._record.doubts.append(
                    f"clock of host {name}: may be {bound_ms:.3g} ms from this one's, limit {limit_ms:g} ms"
                )
