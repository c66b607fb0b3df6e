"""The controller's side of a host that carries nodes of a testbed; the other side is harness.remote.testbed_part."""

from __future__ import annotations

import base64
import binascii
import contextlib
import itertools
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from harness.errors import DeadlineExceeded, HarnessError, MachineError, ProtocolError
from harness.measure.host import HostSample
from harness.provision.engine import Event, EventKind
from harness.provision.facts import Facts
from harness.provision.task import Change
from harness.provision.underlay import UnderlayRoute
from harness.remote.clock_offset import ClockCourse, ClockEstimate, measure_clock
from harness.remote.fabric import RemoteFabric
from harness.remote.links import RemoteLinks
from harness.remote.parsed import Parsed, parsed
from harness.remote.process import LOST_STATUS, RemoteProcess
from harness.remote.run_folder import CHUNK_BYTES, GIVEN
from harness.remote.session import RemoteHost
from harness.testbed.counters import FabricCounters
from harness.testbed.document import topology_document
from harness.testbed.site import Built, SiteClock, SiteLost
from harness.testbed.topology import Topology

BUILD_S = 60.0
FETCH_S = 60.0
ASK_S = 5.0
WARM_S = 1800.0
_POLL_S = 0.5
FILES_MAX = 200
FILE_BYTES_MAX = 8 << 30
_NAME = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]{0,120}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}", re.ASCII)


@dataclass(frozen=True)
class _Page:
    path: Path
    words: np.ndarray


class RemoteSite:
    """A host of the inventory, connected, as a `Site`. `close` ends the connection, and with it all that is there."""

    def __init__(self, remote: RemoteHost) -> None:
        self._remote = remote
        self._facts = self._parsed(Facts, "facts")
        self._numbers = itertools.count(1)
        self._processes: dict[int, RemoteProcess] = {}
        self._folder: Path | None = None
        self._there: Path | None = None
        self._pages: list[_Page] = []
        self._before: ClockEstimate | None = None
        self._bound_ns = 0
        self._react: Callable[[], None] = _nothing
        self._fabric = RemoteFabric(remote, self.title, lambda: self._offset_ns)
        remote.hear(self._heard)

    @property
    def name(self) -> str:
        return self._remote.host.name

    @property
    def title(self) -> str:
        """For messages: name, user, address and port."""
        return self._remote.host.title

    @property
    def facts(self) -> Facts:
        return self._facts

    @property
    def fabric(self) -> RemoteFabric:
        return self._fabric

    @property
    def links(self) -> RemoteLinks:
        return RemoteLinks(self._remote)

    def require_testbed(self) -> None:
        """MachineError naming what the host lacks."""
        try:
            self._facts.require_testbed()
        except MachineError as error:
            raise MachineError(f"host {self.title}: {error}") from None

    def ensure_warm(self, say: Callable[[str], None]) -> None:
        """Have the packet path compiled there, once for each state of the code; `say` is told when that takes time.
        MachineError, DeadlineExceeded."""
        ends_s = time.monotonic() + WARM_S
        if self._remote.call("warm").get("complete"):
            return
        say(f"host {self.title}: compiling the packet path for these sources, once: a minute or two")
        while not self._remote.call("warm").get("complete"):
            if time.monotonic() > ends_s:
                raise DeadlineExceeded(f"host {self.title}: the packet path was not compiled within {WARM_S:g} s")
            time.sleep(_POLL_S)

    def underlay_route(self, remote: str) -> UnderlayRoute:
        """The way from the host to an IPv4 address. MachineError where it has none."""
        return self._parsed(UnderlayRoute, "underlay", remote=remote)

    def require(self) -> None:
        if self._remote.lost:
            raise SiteLost(f"host {self.title}: the connection was lost ({self._remote.lost})")

    def when_lost(self, react: Callable[[], None]) -> None:
        self._react = react

    def ask(self) -> None:
        self.require()
        try:
            self._remote.call("alive", ASK_S)
        except DeadlineExceeded as error:
            raise SiteLost(str(error)) from error

    def close(self) -> None:
        """End the agent and the connection. Doing it twice is no error."""
        self._remote.close()

    # -- nodes ------------------------------------------------------------------------------------------------------

    def build(self, topology: Topology, check: bool) -> Built:
        answer = self._remote.call("build", BUILD_S, topology=topology_document(topology), host=self.name, check=check)
        try:
            events = tuple(_event(entry) for entry in answer["events"])
            recap = TypeAdapter(dict[str, dict[str, int]]).validate_python(answer["recap"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._nonsense("build", error) from None
        return Built(events, recap)

    def tear_down(self) -> None:
        self._folder = self._there = None
        with contextlib.suppress(SiteLost):  # the agent has undone everything when the connection ended
            self._remote.call("tear_down", BUILD_S)

    # -- processes --------------------------------------------------------------------------------------------------

    def spawn(
        self, node: str, title: str, argv: Sequence[str], configuration: Mapping[str, Any], log_path: Path
    ) -> RemoteProcess:
        number = next(self._numbers)
        process = RemoteProcess(self._remote, number, argv, log_path)
        self._processes[number] = process
        answer = self._remote.call(
            "launch", process=number, node=node, title=title, module=argv[-1], configuration=dict(configuration)
        )
        process.pid = self._number(answer, "pid", "launch")
        return process

    def _heard(self, message: dict[str, Any]) -> None:
        """What the agent tells unasked; nothing at all when it is gone."""
        if not message:
            for process in list(self._processes.values()):
                process.ended(LOST_STATUS)
            self._react()
            return
        told = self._processes.get(message.get("process", 0))
        if told is None:
            return
        if isinstance(message.get("event"), dict):
            told.heard(message["event"])
        elif isinstance(message.get("ended"), int):
            told.ended(message["ended"])

    # -- readings ---------------------------------------------------------------------------------------------------

    def counters(self) -> FabricCounters:
        read = self._parsed(FabricCounters, "counters")
        started_ns, ended_ns = read.started_ns - self._offset_ns, read.ended_ns - self._offset_ns
        return replace(read, started_ns=started_ns, ended_ns=ended_ns)

    def read_host(self, pids: Mapping[str, int]) -> HostSample:
        read = self._parsed(HostSample, "read_host", pids=dict(pids))
        return replace(read, monotonic_ns=read.monotonic_ns - self._offset_ns)

    def page(self, path: Path, words: int) -> np.ndarray:
        page = _Page(self.path(path), np.zeros(words, np.int64))
        self._pages.append(page)
        self.refresh()
        return page.words

    def refresh(self) -> None:
        if not self._pages:
            return
        pages = list(self._pages)
        asked = [[str(page.path), page.words.nbytes] for page in pages]
        answer = self._remote.call("read", pages=asked)
        try:
            for page, content in zip(pages, answer["pages"], strict=True):
                read = np.frombuffer(base64.b64decode(content, validate=True), np.int64)
                page.words[:] = read.reshape(page.words.shape)  # one word alone would otherwise fill the page
        except (KeyError, TypeError, ValueError) as error:
            raise self._nonsense("read", error) from None

    def clock(self) -> SiteClock:
        return SiteClock(self._offset_ns, self._bound_ns)

    @property
    def _offset_ns(self) -> int:
        return 0 if self._before is None else self._before.offset_ns

    def _bound_clock(self) -> None:
        """What the clocks may have come to differ since the offset was taken, which the processes kept."""
        if self._before is None:
            return
        course = ClockCourse(self._before, measure_clock(self._remote))
        middle_ns = (course.before.at_ns + course.after.at_ns) // 2
        self._bound_ns = course.offset(middle_ns).error_bound_ns + abs(course.drift_ns)

    # -- files ------------------------------------------------------------------------------------------------------

    def open_folder(self, folder: Path) -> None:
        self._pages = []
        self._before = measure_clock(self._remote)
        self._bound_ns = self._before.error_bound_ns
        # The host's clock is ahead by the offset: less of it is this host's.
        answer = self._remote.call("open_folder", folder=folder.name, clock_shift_ns=-self._before.offset_ns)
        self._folder, self._there = folder.resolve(), Path(str(answer.get("folder")))

    def path(self, path: Path) -> Path:
        folder = self._own_folder
        assert self._there is not None
        return self._there / path.resolve().relative_to(folder)

    @property
    def _own_folder(self) -> Path:
        """The run's, in whose place the host has one."""
        if self._folder is None:
            raise HarnessError(f"host {self.title}: has no folder of a run")
        return self._folder

    def put(self, path: Path) -> Path:
        there = self.path(self._own_folder / GIVEN / path.name)
        try:
            with path.open("rb") as file:
                while content := file.read(CHUNK_BYTES):
                    offset = file.tell() - len(content)
                    encoded = base64.b64encode(content).decode()
                    self._remote.call("store", FETCH_S, path=str(there), offset=offset, content=encoded)
        except OSError as error:
            raise MachineError(f"{path}: cannot be read ({error.strerror})") from error
        return there

    def collect(self) -> None:
        if self._folder is None or self._there is None:
            return
        folder, there = self._folder, self._there
        self._folder = self._there = None
        self._pages = []
        self._bound_clock()
        answer = self._remote.call("files", folder=there.name)
        for name, size in self._checked_files(answer).items():
            self._fetch(PurePosixPath(there.name) / name, size, folder / name)
        self._remote.call("close_folder", FETCH_S, folder=there.name)

    def _checked_files(self, answer: dict[str, Any]) -> dict[str, int]:
        files = answer.get("files")
        if not isinstance(files, dict) or len(files) > FILES_MAX:
            raise self._nonsense("files", "no list of files")
        for name, size in files.items():
            if not _NAME.fullmatch(name) or not isinstance(size, int) or not 0 <= size <= FILE_BYTES_MAX:
                raise self._nonsense("files", f"{name!r:.80} with {size!r:.20} bytes")
        return {name: size for name, size in files.items() if not name.endswith(".status")}

    def _fetch(self, path: PurePosixPath, size: int, into: Path) -> None:
        into.parent.mkdir(exist_ok=True)
        partial = into.with_name(f"{into.name}.partial")
        with partial.open("wb") as file:
            while file.tell() < size:
                answer = self._remote.call("fetch", FETCH_S, path=str(path), offset=file.tell())
                try:
                    content = base64.b64decode(answer["content"], validate=True)
                except (KeyError, TypeError, binascii.Error) as error:
                    raise self._nonsense("fetch", error) from None
                if not content:
                    raise self._nonsense("fetch", f"{path} ended after {file.tell()} of {size} bytes")
                file.write(content)
        partial.replace(into)

    def _parsed(self, kind: type[Parsed], call: str, **arguments: Any) -> Parsed:
        return parsed(kind, self._remote.call(call, **arguments), f"host {self.title}: {call}")

    def _number(self, answer: dict[str, Any], key: str, call: str) -> int:
        value = answer.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._nonsense(call, f"{key}: {value!r:.40}")
        return value

    def _nonsense(self, call: str, what: object) -> ProtocolError:
        return ProtocolError(f"host {self.title}: {call}: an answer that is none ({what!s:.200})")


def _nothing() -> None:
    pass


def _event(entry: dict[str, Any]) -> Event:
    changes = tuple(Change(str(subject), str(before), str(after)) for subject, before, after in entry["changes"])
    return Event(
        EventKind(entry["kind"]),
        str(entry["name"]),
        str(entry["node"]),
        str(entry["message"]),
        changes,
        int(entry["duration_ns"]),
        TypeAdapter(dict[str, dict[str, int]]).validate_python(entry["recap"]),
    )
