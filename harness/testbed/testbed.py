"""A run's testbed from nothing to nothing: lock, namespaces, processes, fabric, tear-down."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.errors import HarnessError, ProfileError
from harness.provision.clean import clean
from harness.provision.connections.base import Connection
from harness.provision.connections.local import LocalConnection
from harness.provision.connections.spawned import RunningProcess
from harness.provision.engine import Callback, Engine, Event, EventKind
from harness.provision.facts import Facts, gather_facts
from harness.provision.ownership import Ownership
from harness.provision.task import ABSENT, Change, Context, Task
from harness.provision.tasks.process import Process, ProcessReady
from harness.provision.tasks.small_disk import SmallDisk
from harness.testbed import topology as names
from harness.testbed.attachment import generator_nodes, management_link, port_link
from harness.testbed.backend import GENERATOR, NETEM, common_facts, resolve_backend
from harness.testbed.changes import LinkChanges, SetGenerated
from harness.testbed.construction import tasks_for, usable_congestion_control
from harness.testbed.counters import CounterReader, FabricCounters, of_all_hosts
from harness.testbed.drain import overtaking_ns
from harness.testbed.fabric import Fabric
from harness.testbed.host_links import HostLinks, OwnLinks
from harness.testbed.placement import LOCALHOST
from harness.testbed.site import Site
from harness.testbed.site_process import SiteProcess
from harness.testbed.sites import Sites
from harness.testbed.steering import FabricControl
from harness.testbed.topology import Topology


@dataclass(frozen=True)
class ProcessSpec:
    """A process to start on a node. `configuration` is the first line of its standard input and may hold secrets."""

    node: str
    title: str
    argv: Sequence[str]
    configuration: Mapping[str, Any]
    log_path: Path
    ready_timeout_s: float = 20.0
    environment: Mapping[str, str] | None = None


@dataclass
class StartedProcess:
    """A running process and its "ready" event."""

    title: str
    process: RunningProcess
    ready: dict[str, Any] = field(default_factory=dict)
    node: str = ""


@dataclass(frozen=True)
class Launched:
    """A process that runs but has not said "ready" yet."""

    spec: ProcessSpec
    task: Process


def _silent(_event: Event) -> None:
    pass


class Testbed:
    """The five nodes of one run. As a context manager it provisions on entry and tears down on exit, whatever happens.

    Every step is reported to `callback`. Only one run at a time owns a machine: `provision` raises MachineError
    naming the other one.

    Where the topology places nodes on several hosts, this is the part of one of them, `host`; LOCALHOST's, which has
    the controller, is given the others as `sites` and builds, reads and undoes them with its own.
    """

    __test__ = False  # not a test class, whatever its name looks like to pytest

    def __init__(
        self,
        topology: Topology,
        callback: Callback = _silent,
        connection: Connection | None = None,
        state_directory: Path | None = None,
        facts: Facts | None = None,
        host: str = LOCALHOST,
        sites: Sequence[Site] = (),
    ) -> None:
        self.facts = facts if facts is not None else gather_facts()
        resolved = resolve_backend(topology, common_facts(self.facts, [site.facts for site in sites]))
        self.backend, self.backend_reason = resolved.name, resolved.reason
        self.topology = self._for_all_hosts(topology, sites) if sites else topology
        self.host = host
        self.sites = Sites(sites, self.topology.placement)
        self.connection: Connection = connection if connection is not None else LocalConnection()
        self._callback = callback
        self._state_directory = state_directory
        self._ownership: Ownership | None = None
        self._context: Context | None = None
        self._engine: Engine | None = None
        self._fabric: FabricControl | None = None
        self._reader: CounterReader | None = None
        self._open = ExitStack()

    def _for_all_hosts(self, topology: Topology, sites: Sequence[Site]) -> Topology:
        """What is decided once, and not by each host for itself. ProfileError."""
        if self.backend == GENERATOR:
            raise ProfileError(f"placement: {self.backend_reason}, and that is one process beside all links")
        wanted = topology.congestion_control
        usable = [usable_congestion_control(wanted, facts) for facts in (self.facts, *(site.facts for site in sites))]
        common = next((control for control in usable if control != wanted), wanted)
        return replace(topology, latency_backend=self.backend, congestion_control=common)

    @property
    def management_link(self) -> str:
        """Link of an instance that carries its management address."""
        return management_link(self.backend)

    def link_changes(self, set_generated: SetGenerated | None = None) -> LinkChanges:
        """What changes links while a run goes on; HarnessError before `provision`. `set_generated`: where there is a
        latency generator.
        """
        own = self.own_links

        def links_of(node: str) -> HostLinks:
            site = self.sites.of(node)
            return own if site is None else site.links

        return LinkChanges(self.topology, self.backend, links_of, set_generated)

    @property
    def own_links(self) -> HostLinks:
        """The ends of links on this host; HarnessError before `provision`."""
        if self._context is None:
            raise HarnessError(f"testbed {self.topology.run_id}: not provisioned yet")
        return OwnLinks(self.topology, self.backend, self._context)

    @property
    def generator_nodes(self) -> tuple[str, ...]:
        """Nodes whose whole link crosses the latency generator; the others' are delayed elsewhere, or not at all."""
        return generator_nodes(self.topology, self.backend)

    def port_link(self, node: str) -> str:
        """Link of a node that its dataplane ports, or its kernel's stack, are on."""
        return port_link(self.topology, self.backend, node)

    @property
    def congestion_control(self) -> str:
        """What TCP between the instances uses; not always what the topology asks for, see
        `usable_congestion_control`.
        """
        return usable_congestion_control(self.topology.congestion_control, self.facts)

    @property
    def fabric(self) -> FabricControl:
        """Steering and drain frames; HarnessError before `provision`, and in the part of a host that has neither the
        fabric nor the controller."""
        if self._fabric is None:
            raise HarnessError(f"testbed {self.topology.run_id}: not provisioned yet")
        return self._fabric

    def counters(self) -> FabricCounters:
        """Counters of all links, queueing disciplines and hosts. HarnessError before `provision` and where a host does
        not answer."""
        if self._reader is None:
            raise HarnessError(f"testbed {self.topology.run_id}: not provisioned yet")
        return of_all_hosts(self._reader.read(), self.sites.counters())

    @property
    def is_standing(self) -> bool:
        """Whether it is provisioned and was not torn down since."""
        return self._reader is not None

    def tasks(self) -> list[Task]:
        """The tasks that build this host's part of the testbed."""
        return tasks_for(self.topology, self.facts, self.host)

    def provision(self, check: bool = False) -> dict[str, dict[str, int]]:
        """Build the testbed, or bring it back to what it shall be; returns the recap (node -> result -> count).

        With `check` nothing is created, not even the lock; the events tell what would change. After an error everything
        this run has made is gone again.
        """
        play = f"testbed {self.topology.run_id}" + (f", host {self.host}" if self.host != LOCALHOST else "")
        tasks = self.tasks()
        if check:
            ownership = self._ownership or Ownership.preview(self.topology.run_id)
            engine = Engine(Context(self.connection, ownership), self._callback)
            try:
                return {**self.sites.build(self.topology, True, self._callback), **engine.run(play, tasks, check=True)}
            finally:
                engine.close()
        self.facts.require_testbed()
        engine = self.claim()
        try:
            self._close_sockets()
            recap = {**self.sites.build(self.topology, False, self._callback), **engine.run(play, tasks)}
            self._open_sockets()
        except BaseException:
            self.teardown()
            raise
        return recap

    def claim(self) -> Engine:
        """Become the one run on this machine, if this one is not yet, as `provision` does; the engine to use. Errors as
        `provision`."""
        if self._engine is None:
            self._ownership = Ownership.acquire(self.topology.run_id, self._state_directory)
            self._context = Context(self.connection, self._ownership)
            self._engine = Engine(self._context, self._callback)
            self._begin(self._ownership)
        return self._engine

    def _open_sockets(self) -> None:
        """Those that stay open as long as everything stands."""
        topology = self.topology
        self._reader = CounterReader(self.connection, topology, topology.nodes_on(self.host))
        self._open.callback(self._reader.close)
        if topology.placement.host_of(names.FABRIC) == self.host:
            # The latency generator keeps drain frames behind the others by itself.
            hold_ns = overtaking_ns(topology.ever[names.SOURCE, "down"]) if self.backend == NETEM else 0
            fabric = Fabric(topology.run_id, self.connection, topology, hold_ns)
            self._open.callback(fabric.close)
            self._fabric = fabric
        elif site := self.sites.of(names.FABRIC):
            self._fabric = site.fabric

    def _begin(self, ownership: Ownership) -> None:
        """Remove what runs that died here have left; testbeds that were kept on purpose stay. CleanupError."""
        try:
            removed = clean(ownership.directory, kept=False, owns_machine=True)
        except BaseException:
            self.teardown()
            raise
        if removed:
            self._callback(Event(EventKind.TASK, "remove what a dead run left behind"))
        for item in removed:
            change = Change(f"{item.kind} {item.name}", "left behind", ABSENT)
            self._callback(Event(EventKind.CHANGED, item.name, item.run_id or "localhost", changes=(change,)))

    def start(self, specs: Sequence[ProcessSpec]) -> list[StartedProcess]:
        """Start processes side by side and wait until each says "ready"; on an error everything is torn down."""
        return self.wait_ready(self.launch(specs))

    def launch(self, specs: Sequence[ProcessSpec]) -> list[Launched]:
        """Start processes without waiting for them; `wait_ready` must follow for each. Errors as `start`."""
        launched = [Launched(spec, self._process(spec)) for spec in specs]
        self._run("processes", [item.task for item in launched])
        return launched

    def _process(self, spec: ProcessSpec) -> Process:
        known = (self.topology.netns(spec.node), spec.title, spec.argv, spec.configuration, spec.log_path)
        site = self.sites.of(spec.node)
        return Process(spec.node, *known, spec.environment) if site is None else SiteProcess(site, spec.node, *known)

    def wait_ready(self, launched: Sequence[Launched]) -> list[StartedProcess]:
        """Wait until each of them says "ready". Errors as `start`."""
        waiting = [ProcessReady(item.task, item.spec.ready_timeout_s) for item in launched]
        self._run("ready", waiting)
        return [
            StartedProcess(item.task.title, item.task.running, waited.event, item.spec.node)
            for item, waited in zip(launched, waiting, strict=True)
        ]

    def _run(self, play: str, tasks: Sequence[Task]) -> None:
        if self._engine is None:
            raise HarnessError(f"testbed {self.topology.run_id}: not provisioned yet")
        try:
            self._engine.run(play, list(tasks))
        except BaseException:
            with contextlib.suppress(HarnessError):  # logs of other hosts may say why
                self.sites.collect()
            self.teardown()
            raise

    @contextmanager
    def small_disk(self, folder: Path, size_bytes: int) -> Iterator[None]:
        """Within the block an empty folder is a file system of its own that holds `size_bytes`; what is in it then
        stays in the folder."""
        task = SmallDisk("localhost", folder, size_bytes)
        self._run("disk", [task])
        try:
            yield
        finally:
            if self._ownership is not None:  # without one, all of it has been torn down
                task.undo(Context(self.connection, self._ownership))

    def controller_socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, protocol: int = 0
    ) -> socket.socket:
        """A socket in the namespace where the controller's management address is."""
        return self.connection.socket_in(self.topology.netns(self.topology.controller), family, kind, protocol)

    def teardown(self) -> None:
        """Undo everything in reverse and give the machine back. Doing it twice is no error.

        CleanupError lists what could not be removed; its record stays for `harness clean`.
        """
        engine, self._engine = self._engine, None
        ownership, self._ownership = self._ownership, None
        self._close_sockets()
        try:
            if engine is not None:
                engine.undo()
                engine.close()
        finally:
            try:
                self.sites.tear_down()
            finally:
                self.connection.close()
                if ownership is not None:
                    ownership.release()

    def keep(self) -> None:
        """Leave the namespaces and links in place, to be looked at; `harness clean` removes them. Processes are
        ended.
        """
        engine, self._engine = self._engine, None
        ownership, self._ownership = self._ownership, None
        self._close_sockets()
        try:
            if engine is not None:
                engine.undo(only=lambda task: isinstance(task, Process))
                engine.close()
            if ownership is not None:
                ownership.keep()
        finally:
            self.connection.close()
            if ownership is not None:
                ownership.release()

    def _close_sockets(self) -> None:
        self._open.close()
        self._fabric = self._reader = None

    def __enter__(self) -> Self:
        self.provision()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.teardown()
