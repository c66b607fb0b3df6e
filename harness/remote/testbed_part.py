"""A host's part of a testbed, in its agent: built, read and undone as the controller asks.

Processes tell their events in frames {"process": number, "event": {...}}, and {"process", "ended": exit status} at
their end; the number is the controller's.
"""

from __future__ import annotations

import contextlib
import ipaddress
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import HarnessError, ProtocolError
from harness.measure.host import read_host
from harness.profile.images import known_images
from harness.provision.connections.local import LocalConnection
from harness.provision.connections.spawned import RunningProcess
from harness.provision.engine import Event
from harness.provision.underlay import underlay_route
from harness.remote.fabric import FabricPart
from harness.remote.links import LinksPart
from harness.remote.run_folder import RunFolder
from harness.testbed.document import parse_topology
from harness.testbed.testbed import ProcessSpec, Testbed

MODULES = (
    "harness.vei",
    "harness.provision.supervisor",
    "harness.testbed.contention_process",
    "harness.latency_generator",
    "loadgen.echoserver_process",
    "loadgen.generator_process",
)
"""Programs an agent starts."""
_EVENT_S = 3600.0

Tell = Callable[[dict[str, Any]], None]


class _Launch(BaseModel):
    """What to start. Its configuration may hold secrets: nothing of it is shown."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    process: Annotated[int, Field(ge=1)]
    node: str
    title: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}$")]
    module: str
    configuration: dict[str, Any]


class TestbedPart:
    """Nothing is there before `build`; `close` undoes all of it."""

    __test__ = False  # not a test class, whatever its name looks like to pytest

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._connection = LocalConnection()
        self._testbed: Testbed | None = None
        self._events: list[Event] = []
        self._processes: dict[int, RunningProcess] = {}
        self._folder = RunFolder()

    @property
    def calls(self) -> Mapping[str, Callable[..., dict[str, Any]]]:
        """By name, as the controller's side uses them (harness.remote.site)."""
        return {
            "underlay": self.underlay,
            "build": self.build,
            "tear_down": self.tear_down,
            "open_folder": self.open_folder,
            "launch": self.launch,
            "command": self.command,
            "signal": self.signal,
            "stop": self.stop,
            "counters": self.counters,
            "read_host": self.read_host,
            **self._folder.calls,
            **FabricPart(lambda: self._standing().fabric).calls,
            **LinksPart(lambda: self._standing().own_links).calls,
        }

    # -- nodes ----------------------------------------------------------------------------------------------------

    def underlay(self, remote: str) -> dict[str, Any]:
        """The way to another host, by its IPv4 address."""
        return asdict(underlay_route(self._connection, str(ipaddress.IPv4Address(remote))))

    def build(self, topology: object, host: str, check: bool) -> dict[str, Any]:
        """Build the nodes of `host`, this one, or bring them back to what they shall be."""
        described = parse_topology(topology)
        standing = self._testbed
        if standing is None or standing.topology != described:
            self.tear_down()
            standing = Testbed(described, self._events.append, self._connection, host=host)
        self._events.clear()
        recap = standing.provision(check=bool(check))
        if not check:
            self._testbed = standing
        return {"events": [_event_document(event) for event in self._events], "recap": recap}

    def tear_down(self) -> dict[str, Any]:
        """End all processes and undo everything."""
        standing, self._testbed = self._testbed, None
        self._processes.clear()
        try:
            if standing is not None:
                standing.teardown()
        finally:
            self._folder.close()
        return {}

    def close(self) -> None:
        """The same, when the controller is gone."""
        self.tear_down()

    def _standing(self) -> Testbed:
        if self._testbed is None:
            raise HarnessError("no nodes of a testbed are here")
        return self._testbed

    # -- processes --------------------------------------------------------------------------------------------------

    def open_folder(self, folder: str, clock_shift_ns: int) -> dict[str, Any]:
        """Make the folder of a run; processes started from now on have a clock that is so much ahead of the host's."""
        made = self._folder.open(folder)
        self._connection.clock_shift_ns = int(clock_shift_ns)
        return {"folder": str(made)}

    def launch(self, **asked: Any) -> dict[str, Any]:
        """Start one of MODULES on a node; what it tells follows unasked."""
        try:
            wanted = _Launch.model_validate(asked)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            raise ProtocolError(f"launch: {'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
        if wanted.module not in MODULES:
            raise ProtocolError(f"launch: no program {wanted.module!r:.80}; there are {', '.join(MODULES)}")
        testbed, configuration = self._standing(), wanted.configuration
        if "image" in configuration:
            configuration["image_directory"] = str(_image_folder(configuration["image"]))
        argv = [sys.executable, "-P", "-m", wanted.module]
        log_path = self._folder.log(wanted.title)
        (launched,) = testbed.launch([ProcessSpec(wanted.node, wanted.title, argv, configuration, log_path)])
        process = launched.task.running
        self._processes[wanted.process] = process
        title = f"events-{process.pid}"
        threading.Thread(target=self._forward, args=(wanted.process, process), name=title, daemon=True).start()
        return {"pid": process.pid}

    def _forward(self, number: int, process: RunningProcess) -> None:
        while True:
            with contextlib.suppress(HarnessError):  # it has been silent for that long
                event = process.next_event(_EVENT_S)
                if event is None:
                    break
                self._tell({"process": number, "event": event})
        status = process.returncode
        while status is None:
            threading.Event().wait(0.01)
            status = process.returncode
        self._tell({"process": number, "ended": status})

    def _process(self, number: object) -> RunningProcess:
        if not isinstance(number, int) or number not in self._processes:
            raise HarnessError(f"no process {number!r:.20}")
        return self._processes[number]

    def command(self, process: int, command: dict[str, Any]) -> dict[str, Any]:
        """Give a process a command."""
        self._process(process).send(command)
        return {}

    def signal(self, process: int, number: int) -> dict[str, Any]:
        """Send a process a signal."""
        self._process(process).signal(int(number))
        return {}

    def stop(self, process: int, timeout_s: float) -> dict[str, Any]:
        """End a process; its exit status."""
        return {"status": self._process(process).stop(min(float(timeout_s), 10.0))}

    # -- readings ---------------------------------------------------------------------------------------------------

    def counters(self) -> dict[str, Any]:
        """Counters of links and queueing disciplines of the nodes, and of the host."""
        return asdict(self._standing().counters())

    def read_host(self, pids: dict[str, int]) -> dict[str, Any]:
        """The load of the host and of its processes by title."""
        return asdict(read_host({str(title): int(pid) for title, pid in pids.items()}))


def _image_folder(name: object) -> Path:
    known = known_images()
    if not isinstance(name, str) or name not in known:
        raise HarnessError(f"no VNF image {name!r:.80}; there are {', '.join(known)}")
    return known[name]


def _event_document(event: Event) -> dict[str, Any]:
    changes = [[change.subject, str(change.before), str(change.after)] for change in event.changes]
    return {**asdict(event), "kind": str(event.kind), "changes": changes}
