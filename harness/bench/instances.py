"""Many VNF instances at once: from nothing to every one of them ready, and answering packets, in a namespace each."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path

from harness.bench.frames import echo_arp_requests
from harness.bench.memory import parse_memory
from harness.bench.setting import source_spec
from harness.bench.startup import new_secrets
from harness.dataplane.wire.ethernet import ETHERTYPE_ARP
from harness.errors import DeadlineExceeded
from harness.experiment.processes import INSTANCE_MODULE, READY_TIMEOUT_S, Secrets
from harness.migration.messages import Accepted, ActivateRequest
from harness.migration.protocol import ControllerChannel
from harness.migration.transport import Deadline
from harness.profile.images import known_images
from harness.profile.model import Profile
from harness.provision.connections.local import LocalConnection
from harness.provision.connections.template import Template
from harness.provision.engine import Engine
from harness.provision.ownership import Ownership
from harness.provision.task import Context, Task
from harness.provision.tasks.link import LinkEnd, LinkSettings, VethPair
from harness.provision.tasks.netns import NetworkNamespace
from harness.provision.tasks.process import Process, ProcessReady
from harness.testbed import topology as names
from harness.testbed.testbed import Testbed

INSTANCES = 32
_MANAGEMENT = "127.0.0.1"
_PEER, _PEER_MAC = "peer0", "02:00:00:00:0e:01"
_DEADLINE_S = 10.0
_CONTROL_NS = 10_000_000_000


@dataclass(frozen=True)
class ManyInstances:
    """ready_s: from the start of the process that the others are forked from to the last "ready"; answered_s: to the
    last ARP answer, each activated before. proportional_bytes: of all of them when all had answered, memory they share
    counted once (Pss, proc(5)); peak_bytes: the largest resident set any of them ever had, shared memory included.
    """

    ready_s: float
    answered_s: float
    proportional_bytes: int
    peak_bytes: int


def many_instances(testbed: Testbed, profile: Profile, run_id: str, folder: Path) -> ManyInstances:
    """Start INSTANCES of them, and end and remove everything. testbed: a description, it need not stand.

    HarnessError where one does not start or answer.
    """
    began = time.monotonic()
    with (
        Ownership.acquire(run_id) as ownership,
        Template((INSTANCE_MODULE,), (str(known_images()[profile.vnf.image]),)) as template,
    ):
        connection = LocalConnection(template)
        engine = Engine(Context(connection, ownership), lambda _event: None)
        try:
            return _measure(engine, connection, testbed, profile, run_id, folder, began)
        finally:
            try:
                engine.undo()
            finally:
                engine.close()
                connection.close()


def _measure(
    engine: Engine,
    connection: LocalConnection,
    testbed: Testbed,
    profile: Profile,
    run_id: str,
    folder: Path,
    began: float,
) -> ManyInstances:
    own = [new_secrets() for _ in range(INSTANCES)]
    processes: list[Process] = []
    for number, secrets in enumerate(own):
        netns = f"{run_id}-i{number}"
        engine.run("network", _network(netns))
        processes.append(_process(testbed, profile, number, netns, secrets, folder))
        engine.run("start", [processes[-1]])
    waiting = [ProcessReady(process, READY_TIMEOUT_S) for process in processes]
    engine.run("ready", list(waiting))
    ready_s = time.monotonic() - began
    for process, waited, secrets in zip(processes, waiting, own, strict=True):
        assert process.netns is not None
        _activate(connection, process.netns, int(waited.event["control_port"]), secrets)
    for process in processes:
        assert process.netns is not None
        _await_answer(connection, process.netns)
    answered_s = time.monotonic() - began
    pids = [process.running.pid for process in processes]
    peaks = [parse_memory(Path(f"/proc/{pid}/status").read_text())[1] for pid in pids]
    return ManyInstances(ready_s, answered_s, sum(proportional_bytes(pid) for pid in pids), max(peaks))


def proportional_bytes(pid: int) -> int:
    """Memory of a process, what it shares divided by how many share it. OSError, ValueError."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid}: the kernel does not tell its share of memory")


def _network(netns: str) -> list[Task]:
    """A namespace with an uplink that ends in it, too: there the bench asks."""
    uplink = LinkEnd(netns, names.UPLINK, names.NODE_MACS[names.SOURCE])
    return [
        NetworkNamespace(names.SOURCE, netns),
        LinkSettings(names.SOURCE, netns, "lo", container=netns),
        VethPair(names.SOURCE, LinkEnd(netns, _PEER, _PEER_MAC), uplink, container=netns),
    ]


def _process(testbed: Testbed, profile: Profile, number: int, netns: str, secrets: Secrets, folder: Path) -> Process:
    spec = source_spec(profile, testbed, folder, secrets)
    configuration = {
        **spec.configuration,
        "management_address": _MANAGEMENT,
        "status_path": str(folder / f"instance-{number}.status"),
        # Of the dataplane's priority they would be waited for by everything else while they start.
        "scheduler": "other",
    }
    spec = replace(spec, configuration=configuration)
    title = f"instance-{number}"
    return Process(spec.node, netns, title, spec.argv, configuration, folder / f"{title}.log")


def _activate(connection: LocalConnection, netns: str, port: int, secrets: Secrets) -> None:
    deadline = Deadline.after(_CONTROL_NS)
    channel = connection.run(
        netns, lambda: ControllerChannel.open(_MANAGEMENT, port, secrets.key, deadline, names.SOURCE, None)
    )
    try:
        channel.request(ActivateRequest(), Accepted, deadline)
    finally:
        channel.close()


def _await_answer(connection: LocalConnection, netns: str) -> None:
    """Ask for the VNF's exterior address until the answer comes."""
    request = echo_arp_requests()[0].tobytes()
    with connection.socket_in(netns, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE_ARP)) as asking:
        connection.run(netns, lambda: asking.bind((_PEER, ETHERTYPE_ARP)))
        asking.settimeout(0.1)
        end = time.monotonic() + _DEADLINE_S
        while time.monotonic() < end:
            asking.send(request)
            try:
                answer = asking.recv(2048)
            except TimeoutError:
                continue
            if answer[20:22] == b"\0\2":  # an ARP reply, RFC 826
                return
    raise DeadlineExceeded(f"bench: the instance in {netns} does not answer ARP within {_DEADLINE_S:g} s")
