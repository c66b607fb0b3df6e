"""Where the workers of a sweep are from: hosts of the inventory with a scheduler here, or somebody's scheduler."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from harness.errors import DeadlineExceeded, HarnessError, MachineError
from harness.remote.hosts import Host, Hosts
from harness.remote.programs import WAIT_MAX_S, Program
from harness.remote.session import RemoteHost
from harness.sweep.dask_settings import RESOURCE, configure_dask, new_keys, security_of
from harness.sweep.dask_workers import DaskWorkers
from harness.sweep.reach import reach, scheduler_address

SCHEDULER, WORKER = "harness.sweep.scheduler_process", "harness.sweep.worker_process"
CONNECT_S = 5.0
START_S = 30.0
OPENED_AT_ONCE = 32
"""Connections that are being made at the same time: each has to come to an end within its deadline."""
COMPILED_S = 900.0
"""For a host to compile the packet path before it starts its worker."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Kept:
    """What every run of a sweep is asked to be: the sweep's name, what is kept of a run ("all", "figures"), and whether
    its host calibrates its links ("cached", "off")."""

    sweep: str
    keep: str
    calibration: str


@dataclass(frozen=True)
class RunningScheduler:
    """Its URL, and its process."""

    address: str
    program: Program


@contextlib.contextmanager
def on_hosts(hosts: Hosts, names: Sequence[str], kept: Kept, tell: Tell) -> Iterator[DaskWorkers]:
    """A scheduler here, on the address by which the hosts are reached, and a worker on each of them, with keys that are
    made for it. Hosts that cannot be used are told and left out; MachineError where none can.
    """
    configure_dask()
    chosen = hosts.select(names)
    keys = new_keys()
    with contextlib.ExitStack() as stack:
        sessions = _opened(hosts, chosen, stack, tell)
        address = stack.enter_context(scheduler(scheduler_address(sessions), keys)).address
        client = stack.enter_context(connected(address, keys, "the scheduler of this sweep"))
        _start_workers(sessions, address, keys, tell)
        yield DaskWorkers(client, kept.sweep, kept.keep, kept.calibration)


@contextlib.contextmanager
def on_scheduler(url: str, kept: Kept, _tell: Tell) -> Iterator[DaskWorkers]:
    """The workers of a running scheduler that have the resource `testbed`, and this project installed. MachineError
    where it cannot be reached or has no such worker."""
    configure_dask()
    with connected(url, None, f"--scheduler {url}") as client:
        workers = DaskWorkers(client, kept.sweep, kept.keep, kept.calibration)
        if workers.free() == 0:
            raise MachineError(
                f"--scheduler {url}: no worker has the resource; start them with --resources {RESOURCE}=1"
            )
        yield workers


@contextlib.contextmanager
def scheduler(address: str, keys: dict[str, str] | None) -> Iterator[RunningScheduler]:
    """A scheduler in a process of its own that listens on `address` alone. MachineError."""
    program = Program(SCHEDULER, {"address": address, "keys": keys})
    try:
        event = program.event(START_S)
        if event is None or event.get("event") != "ready":
            raise MachineError(f"the scheduler of the sweep did not start within {START_S:g} s")
        yield RunningScheduler(str(event["address"]), program)
    finally:
        program.end()


@contextlib.contextmanager
def connected(url: str, keys: dict[str, str] | None, title: str) -> Iterator[Any]:
    """A client of a scheduler. Without keys, what Dask's own configuration says. MachineError."""
    from distributed import Client

    try:
        client = Client(
            url,
            timeout=CONNECT_S,
            security=security_of(keys, "client"),
            set_as_default=False,
        )
    except Exception as error:  # of the address, of the network, of TLS, of Dask's own choice
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise MachineError(f"{title}: cannot be reached ({said:.120})") from None
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):  # its scheduler may be gone
            client.close(timeout=CONNECT_S)


def _opened(hosts: Hosts, chosen: Sequence[Host], stack: contextlib.ExitStack, tell: Tell) -> list[RemoteHost]:
    def one(host: Host) -> RemoteHost | HarnessError:
        try:
            return RemoteHost.open(hosts, host)
        except HarnessError as error:
            return error

    with ThreadPoolExecutor(OPENED_AT_ONCE, thread_name_prefix="host") as executor:
        found = list(executor.map(one, chosen))
    sessions = [session for session in found if isinstance(session, RemoteHost)]
    stack.callback(_close_all, sessions)
    for error in found:
        if isinstance(error, HarnessError):
            tell(f"left out: {error}")
    if not sessions:
        raise MachineError("no host can be used")
    return sessions


def _close_all(sessions: Sequence[RemoteHost]) -> None:
    """Side by side: each waits until its host has removed what was under way there."""
    if sessions:
        with ThreadPoolExecutor(len(sessions), thread_name_prefix="host") as executor:
            list(executor.map(lambda session: session.close(), sessions))


def _start_workers(sessions: Sequence[RemoteHost], scheduler: str, keys: dict[str, str], tell: Tell) -> None:
    tell(f"starting workers on {', '.join(session.host.name for session in sessions)}")

    def one(session: RemoteHost) -> str:
        try:
            _start_worker(session, scheduler, keys, tell)
        except HarnessError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(len(sessions), thread_name_prefix="host") as executor:
        faults = [fault for fault in executor.map(one, sessions) if fault]
    for fault in faults:
        tell(f"left out: {fault}")
    if len(faults) == len(sessions):
        raise MachineError("no host can carry a testbed")


def _start_worker(session: RemoteHost, scheduler: str, keys: dict[str, str], tell: Tell) -> None:
    way = reach(session, scheduler)
    configuration = {
        "scheduler": way.scheduler,
        "name": session.host.name,
        "address": way.address,
        "contact": way.contact,
        "keys": keys,
    }
    pid = session.call("start", module=WORKER, configuration=configuration)["pid"]
    ends_s = time.monotonic() + START_S
    while time.monotonic() < ends_s:
        event = session.call("program_event", pid=pid, wait_s=WAIT_MAX_S)["event"] or {}
        if event.get("event") == "ready":
            way.complete(event)
            return
        if event.get("event") == "compiling":
            tell(f"{session.host.name}: compiles the packet path for these sources, once: a minute or two")
            ends_s = time.monotonic() + COMPILED_S
    raise DeadlineExceeded(f"host {session.host.title}: its worker did not start in time")
