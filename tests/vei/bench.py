"""Two real instances without privileges: socket pairs for their ports, loopback for everything else, and traffic."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from scapy.layers.l2 import Ether

from harness.dataplane.instance import ImageFunctions, Instance, InstanceSettings
from harness.dataplane.table_check import dump
from harness.migration.certificates import make_parties
from harness.migration.controller import migrate
from harness.migration.messages import Accepted, ActivateRequest, Message, Prepared, Status, StatusRequest
from harness.migration.outcome import MigrationDeadlines, MigrationOutcome, MigrationSettings
from harness.migration.phases import PhaseEvent
from harness.migration.protocol import ControllerChannel
from harness.migration.tls import CONTROLLER, DESTINATION, SOURCE, Tls, TlsParty
from harness.migration.transport import Deadline
from harness.vei.control import ControlServer
from harness.vei.requests import Identity, RequestHandler
from harness.vei.state import InstanceState
from tests.vei.flow_image import NUMBER_AT, flow_image
from tests.vei.proxy import Fault, Proxy

SECRET = bytes(range(32))
TOKEN = bytes(range(100, 116))
DEADLINE_S = 20.0
WINDOW_PACKETS = 8  # fewer than net.unix.max_dgram_qlen lets wait in a socket
FLOWS = 50

QUICK = MigrationDeadlines(
    connect_ns=5_000_000_000,
    snapshot_ns=10_000_000_000,
    resync_ns=10_000_000_000,
    switchover_ns=5_000_000_000,
    drain_ns=10_000_000_000,
    finish_ns=10_000_000_000,
)


def deadline() -> Deadline:
    return Deadline.after(int(DEADLINE_S * 1e9))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, what


HEADERS = [bytes(Ether(dst=f"02:00:00:00:01:0{port}", src="02:00:00:00:00:01", type=0x9000)) for port in (0, 1)]


def flow_of(number: int) -> int:
    return (number * 7919) % FLOWS


def frame(port: int, number: int) -> bytes:
    return (HEADERS[port] + flow_of(number).to_bytes(4, "big") + number.to_bytes(4, "big")).ljust(60, b"\0")


class Node:
    """An instance with its control server, and the controller's connection to it."""

    def __init__(
        self,
        role: str,
        address: str,
        image: ImageFunctions | None = None,
        settings: InstanceSettings | None = None,
        secret: bytes = SECRET,
        st_q_in_packets: int = 524_288,
        parties: Mapping[str, TlsParty] | None = None,
    ) -> None:
        tls = {name: Tls(party) for name, party in (parties or {}).items()}
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
        self.outside = [pair[0] for pair in pairs]
        inside = [pair[1] for pair in pairs]
        for sock in inside:
            sock.setblocking(False)
        image = image or flow_image()
        self.state = InstanceState(image.tables)
        self.instance = Instance(image, inside, settings or InstanceSettings(scheduler="other", pkt_q_packets=1024))
        self.instance.set_drain_token(TOKEN)
        self.instance.start()
        self.server = ControlServer(address, 0, SECRET, tls.get(role))
        self.stopping = threading.Event()
        identity = Identity(role, secret, address, st_q_in_packets, tls.get(role))
        self.handler = RequestHandler(self.instance, self.state, identity, self.server.notify, self.stopping)
        self._thread = threading.Thread(
            target=self.server.serve, args=(self.handler.handle, self.handler.controller_lost), daemon=True
        )
        self._thread.start()
        self.channel = ControllerChannel.open(address, self.server.port, SECRET, deadline(), role, tls.get(CONTROLLER))
        self.address = address

    def request(self, message: Any, expected: type[Any]) -> Any:
        return self.channel.request(message, expected, deadline())

    def phase(self) -> str:
        return str(self.request(StatusRequest(), Status).phase)

    def flows(self) -> dict[int, tuple[int, int]]:
        return {record[0]: (record[1], record[2]) for record in dump(self.instance.tables)["flows"]}

    def close(self) -> None:
        self.channel.close()
        self.server.close()
        self._thread.join(DEADLINE_S)
        wait_until(lambda: not self._thread.is_alive(), "control server ends")
        self.handler.close()
        self.instance.close()
        for sock in self.outside:
            sock.close()


@dataclass(frozen=True)
class Steered:
    started_ns: int
    acknowledged_ns: int


class FakeFabric:
    """Gives the traffic to one of two nodes; `refuse` and `drop_drains` make it fail."""

    def __init__(self, source: Node, destination: Node) -> None:
        self.nodes = {"source": source, "destination": destination}
        self.owner = "source"
        self.lock = threading.Lock()
        self.refuse: set[str] = set()
        self.drop_drains = 0
        self.on_steer: Callable[[], None] = lambda: None

    def steer(self, to: str) -> Steered:
        started_ns = time.monotonic_ns()
        if to in self.refuse:
            raise OSError(1, "steering refused by the test")
        with self.lock:
            self.owner = to
            self.on_steer()
        return Steered(started_ns, time.monotonic_ns())

    def inject_drain(self, port_index: int, sequence: int, token: bytes) -> int:
        if self.drop_drains > 0:
            self.drop_drains -= 1
            return time.monotonic_ns()
        payload = b"DRAIN\x01" + bytes([port_index, sequence]) + token
        drain = bytes(Ether(dst=f"02:00:00:00:01:0{port_index}", type=0x88B5) / payload).ljust(60, b"\0")
        self.nodes["source"].outside[port_index].send(drain)
        return time.monotonic_ns()


class Traffic:
    """Sends numbered frames to whoever owns the traffic, both ports in turn, few enough at a time that no socket runs
    over, and notes the order in which they leave the other port."""

    def __init__(self, fabric: FakeFabric) -> None:
        self._fabric = fabric
        self._end = threading.Event()
        self._abandoned = threading.Event()
        self.sent = [0, 0]
        self.left: list[list[int]] = [[], []]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """Stop sending and wait until everything sent has left."""
        self._end.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), f"sent {self.sent}, left {[len(numbers) for numbers in self.left]}"

    def stop(self) -> None:
        """Stop without waiting for what is under way."""
        self._abandoned.set()
        self._end.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "traffic goes on after its end"
        self.sent = [len(numbers) for numbers in self.left]

    def expected_flows(self) -> dict[int, tuple[int, int]]:
        counts: dict[int, list[int]] = {}
        for port in (0, 1):
            for number in range(self.sent[port]):
                counts.setdefault(flow_of(number), [0, 0])[port] += 1
        return {flow: (first, second) for flow, (first, second) in counts.items()}

    def _run(self) -> None:
        outside = {sock: port for node in self._fabric.nodes.values() for port, sock in enumerate(node.outside)}
        while not self._abandoned.is_set():
            for port in (0, 1):
                room = self.sent[port] - len(self.left[port]) < WINDOW_PACKETS
                if room and not self._end.is_set():
                    with self._fabric.lock:
                        owner = self._fabric.nodes[self._fabric.owner]
                        owner.outside[port].send(frame(port, self.sent[port]))
                    self.sent[port] += 1
            if self._end.is_set() and all(len(self.left[port]) >= self.sent[port] for port in (0, 1)):
                return
            # The source comes first and is emptied: whatever the destination sends, the source sent the rest before.
            for sock in select.select(list(outside), [], [], 0.001)[0]:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        data = sock.recv(2000, socket.MSG_DONTWAIT)
                        self.left[1 - outside[sock]].append(int.from_bytes(data[NUMBER_AT : NUMBER_AT + 4], "big"))


class ProxiedChannel(ControllerChannel):
    """Has the source connect through proxies with faults instead of to the destination itself."""

    def __init__(
        self, channel: ControllerChannel, address: str, statelet: Fault | None, snapshot: Fault | None
    ) -> None:
        super().__init__(channel.channel)
        self._address, self._faults = address, (statelet, snapshot)
        self.proxies: list[Proxy] = []

    def request(self, message: Any, expected: type[Any], deadline: Deadline) -> Any:
        answer: Message = super().request(message, expected, deadline)
        if isinstance(answer, Prepared):
            ports = []
            for port, fault in zip((answer.statelet_port, answer.snapshot_port), self._faults, strict=True):
                if fault is None:
                    ports.append(port)
                else:
                    self.proxies.append(Proxy(self._address, port, fault))
                    ports.append(self.proxies[-1].port)
            return answer.model_copy(update={"statelet_port": ports[0], "snapshot_port": ports[1]})
        return answer

    def close_proxies(self) -> None:
        for proxy in self.proxies:
            proxy.close()


class Pair:
    """A live source, a destination in standby, and traffic through whichever has it."""

    def __init__(self, encrypted: bool = False, **source_options: Any) -> None:
        parties = make_parties((CONTROLLER, SOURCE, DESTINATION), 600.0) if encrypted else None
        self.source = Node("source", "127.0.0.11", parties=parties, **source_options)
        self.destination = Node("destination", "127.0.0.12", parties=parties)
        self.source.request(ActivateRequest(), Accepted)
        self.fabric = FakeFabric(self.source, self.destination)
        self.traffic = Traffic(self.fabric)
        self.journal: list[PhaseEvent] = []
        self.settings = MigrationSettings(
            epoch=1,
            mode="statelet",
            destination_address=self.destination.address,
            drain_token=TOKEN,
            filler_bytes=300_000,
            snapshot_rate_bps=16_000_000,
            deadlines=QUICK,
        )

    def migrate(self, destination: ControllerChannel | None = None, **changes: Any) -> MigrationOutcome:
        self.settings = replace(self.settings, **changes)
        return migrate(
            self.source.channel,
            destination or self.destination.channel,
            self.fabric,
            self.settings,
            self.journal.append,
        )

    def close(self) -> None:
        self.traffic.stop()
        self.source.close()
        self.destination.close()
