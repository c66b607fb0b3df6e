"""Instances as processes in namespaces: the NAT moves from one to the other while UDP flows pass through it."""

from __future__ import annotations

import os
import secrets
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from harness.errors import ProtocolError
from harness.migration.controller import migrate
from harness.migration.messages import (
    AbortRequest,
    Accepted,
    ActivateRequest,
    Dumped,
    DumpStateRequest,
    Prepared,
    PrepareInRequest,
    Status,
    StatusRequest,
)
from harness.migration.outcome import MigrationDeadlines, MigrationOutcome, MigrationSettings
from harness.migration.protocol import ControllerChannel
from harness.migration.transport import Deadline
from harness.testbed import topology as names
from harness.testbed.testbed import ProcessSpec, StartedProcess, Testbed
from harness.testbed.topology import Topology, UplinkSpec

# The first start on a machine compiles the packet path, twice at once.
pytestmark = [
    pytest.mark.timeout(400),
]

ROOT = Path(__file__).parents[2]
INTERIOR_ADDRESS, EXTERIOR_ADDRESS = "10.1.0.1", "198.18.0.1"
HOST, ECHO = "10.1.1.1", "198.18.1.1"
HOST_MAC, ECHO_MAC = names.NODE_MACS[names.LOADGEN], names.NODE_MACS[names.ECHOSERVER]
WAIT_S = 15.0
FLOWS = 8
PERIOD_S = 0.004
WARM_UP = 0xFFFFFFFF
PACKET_IGNORE_OUTGOING = 23


def soon() -> Deadline:
    return Deadline.after(int(WAIT_S * 1e9))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = threading.Event()
    deadline = soon()
    while not condition():
        assert deadline.remaining_ns(), what
        end.wait(0.002)


def raw_socket(testbed: Testbed, node: str) -> socket.socket:
    sock = testbed.connection.socket_in(testbed.topology.netns(node), socket.AF_PACKET, socket.SOCK_RAW)
    sock.setsockopt(263, PACKET_IGNORE_OUTGOING, 1)
    sock.bind((names.UPLINK, 3))
    return sock


@dataclass
class Flows:
    """An interior host and an echo server on raw sockets; packets built and read with scapy. A new flow every 20
    packets, so that state is made during every phase of a migration."""

    interior: socket.socket
    exterior: socket.socket
    sent: list[bytes] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    mappings: dict[int, set[tuple[str, int]]] = field(default_factory=dict)
    warm_replies: int = 0
    idle: threading.Event = field(default_factory=threading.Event)
    _sending: threading.Event = field(default_factory=threading.Event)
    _end: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self._sending.set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Stop sending; wait for every reply."""
        self._sending.clear()
        wait_until(lambda: self.idle.is_set() and set(self.sent) <= set(self.received), "replies to all packets")

    def close(self) -> None:
        self._end.set()
        self._thread.join(WAIT_S)
        self.interior.close()
        self.exterior.close()

    def _run(self) -> None:
        next_s = time.monotonic()
        while not self._end.is_set():
            for sock in select.select([self.interior, self.exterior], [], [], PERIOD_S / 4)[0]:
                packet = Ether(sock.recv(2048))
                (self._take_inside if sock is self.interior else self._take_outside)(packet)
            if not self._sending.is_set():
                self.idle.set()
            elif time.monotonic() >= next_s:
                next_s += PERIOD_S
                self._send()

    def _send(self) -> None:
        # Until neighbours are resolved (RFC 826) the NAT refuses packets by design: those are not counted.
        number = len(self.sent) if self.warm_replies else WARM_UP
        flow = number % FLOWS if number % 20 else 1000 + number
        payload = number.to_bytes(4, "big") + flow.to_bytes(4, "big")
        packet = (
            Ether(src=HOST_MAC, dst=names.VNF_INTERIOR_MAC)
            / IP(src=HOST, dst=ECHO)
            / UDP(sport=2000 + flow, dport=7)
            / Raw(payload)
        )
        if number != WARM_UP:
            self.sent.append(payload)
        self.interior.send(bytes(packet).ljust(60, b"\0"))

    def _take_inside(self, packet: Ether) -> None:
        if ARP in packet and packet[ARP].op == 1:
            self._answer(self.interior, packet, HOST, HOST_MAC)
        elif UDP in packet and packet.dst == HOST_MAC:
            payload = bytes(packet[UDP].payload)[:8]
            if payload[:4] == WARM_UP.to_bytes(4, "big"):
                self.warm_replies += 1
            else:
                self.received.append(payload)

    def _take_outside(self, packet: Ether) -> None:
        if ARP in packet and packet[ARP].op == 1:
            self._answer(self.exterior, packet, ECHO, ECHO_MAC)
        elif UDP in packet and packet.dst == ECHO_MAC:
            payload = bytes(packet[UDP].payload)[:8]
            seen = self.mappings.setdefault(int.from_bytes(payload[4:], "big"), set())
            seen.add((packet[IP].src, packet[UDP].sport))
            reply = (
                Ether(src=ECHO_MAC, dst=packet.src)
                / IP(src=packet[IP].dst, dst=packet[IP].src)
                / UDP(sport=packet[UDP].dport, dport=packet[UDP].sport)
                / Raw(payload)
            )
            self.exterior.send(bytes(reply).ljust(60, b"\0"))

    @staticmethod
    def _answer(sock: socket.socket, request: Ether, address: str, mac: str) -> None:
        asked = request[ARP]
        if asked.pdst == address:
            reply = Ether(src=mac, dst=request.src) / ARP(
                op=2, hwsrc=mac, psrc=address, hwdst=asked.hwsrc, pdst=asked.psrc
            )
            sock.send(bytes(reply).ljust(60, b"\0"))


@dataclass
class Running:
    """Two instances as processes, connected to."""

    testbed: Testbed
    processes: dict[str, StartedProcess]
    channels: dict[str, ControllerChannel]
    flows: Flows
    settings: MigrationSettings

    def migrate(self, **changes: Any) -> MigrationOutcome:
        self.settings = replace(self.settings, **changes)
        return migrate(
            self.channels["source"],
            self.channels["destination"],
            self.testbed.fabric,
            self.settings,
            lambda event: None,
        )

    def status(self, instance: str) -> Status:
        return self.channels[instance].request(StatusRequest(), Status, soon())

    def dump(self, instance: str, path: Path) -> dict[str, list[list[int]]]:
        self.channels[instance].request(DumpStateRequest(path=str(path)), Dumped, soon())
        with np.load(path) as arrays:
            return {name: arrays[name].tolist() for name in arrays}

    def in_node(self, node: str, task: Callable[[], Any]) -> Any:
        return self.testbed.connection.run(self.testbed.topology.netns(node), task)


def spec(role: str, secret: bytes, token: bytes, log: Path) -> ProcessSpec:
    configuration = {
        "image": "nat",
        "image_directory": str(ROOT / "vnf_images" / "nat"),
        "parameters": {},
        "role": role,
        "management_address": names.MANAGEMENT_ADDRESSES[role],
        "control_port": 0,
        "secret": secret.hex(),
        "drain_token": token.hex(),
        "ports": [
            {"interface": names.UPLINK, "mac": names.VNF_INTERIOR_MAC, "arp_address": INTERIOR_ADDRESS},
            {"interface": names.UPLINK, "mac": names.VNF_EXTERIOR_MAC, "arp_address": EXTERIOR_ADDRESS},
        ],
        "scheduler": "other",
        "pkt_q_packets": 4096,
    }
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return ProcessSpec(role, role, [sys.executable, "-m", "harness.vei"], configuration, log, 300.0, environment)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    topology = Topology(f"m{secrets.token_hex(4)[:7]}", UplinkSpec(), latency_backend="none")
    secret, token = secrets.token_bytes(32), secrets.token_bytes(16)
    with Testbed(topology, state_directory=tmp_path) as testbed:
        specs = [spec(role, secret, token, tmp_path / f"{role}.log") for role in names.INSTANCES]
        processes = {process.title: process for process in testbed.start(specs)}
        flows = Flows(raw_socket(testbed, names.LOADGEN), raw_socket(testbed, names.ECHOSERVER))
        channels = {}
        for role, process in processes.items():
            channels[role] = testbed.connection.run(
                topology.netns(names.FABRIC),
                lambda role=role, port=process.ready["control_port"]: ControllerChannel.open(
                    names.MANAGEMENT_ADDRESSES[role], port, secret, soon(), role
                ),
            )
        channels["source"].request(ActivateRequest(), Accepted, soon())
        testbed.fabric.steer("source")
        settings = MigrationSettings(
            epoch=1,
            mode="statelet",
            destination_address=names.MANAGEMENT_ADDRESSES["destination"],
            drain_token=token,
            filler_bytes=2_000_000,
            snapshot_rate_bps=80_000_000,
            deadlines=MigrationDeadlines(connect_ns=3_000_000_000, snapshot_ns=5_000_000_000),
        )
        made = Running(testbed, processes, channels, flows, settings)
        flows.start()
        try:
            wait_until(lambda: len(flows.received) > 3 * FLOWS, "traffic through the source")
            yield made
        finally:
            flows.close()
            for channel in channels.values():
                channel.close()


def assert_lossless(running: Running, owner: str, state: Path) -> None:
    """Every packet came back once; every flow kept its mapping; the owner's state is that of exactly these packets."""
    flows = running.flows
    flows.finish()
    assert sorted(flows.received) == sorted(flows.sent)
    assert {number for number, seen in flows.mappings.items() if len(seen) != 1} == set()
    outside = [next(iter(seen)) for seen in flows.mappings.values()]
    assert len(set(outside)) == len(outside)
    assert {address for address, _ in outside} == {EXTERIOR_ADDRESS}
    tables = running.dump(owner, state)
    assert len(tables["mapping"]) == len(tables["external"]) == len(flows.mappings)
    ((host, packets_out, _, packets_in, _),) = tables["host"]
    assert host == int.from_bytes(socket.inet_aton(HOST), "big")
    assert packets_in == len(flows.received) + flows.warm_replies
    assert packets_out >= packets_in


@pytest.mark.parametrize("mode", ["statelet", "duplication"])
def test_the_nat_moves_without_loss(running: Running, tmp_path: Path, mode: str) -> None:
    outcome = running.migrate(mode=mode)
    assert (outcome.outcome, outcome.reason) == ("completed", "")
    before = len(running.flows.received)
    wait_until(lambda: len(running.flows.received) > before + 100, "traffic through the destination")
    assert_lossless(running, "destination", tmp_path / "state.npz")
    assert (running.status("source").phase, running.status("destination").phase) == ("closed", "live")
    assert outcome.source is not None
    assert outcome.destination is not None
    assert outcome.source.statelets_sent == outcome.destination.statelets_installed > 0
    assert outcome.destination.filler_bytes == 2_000_000


def test_a_destination_that_dies_leaves_the_source_serving(running: Running, tmp_path: Path) -> None:
    destination = running.processes["destination"].process
    outcomes: list[MigrationOutcome] = []
    attempt = threading.Thread(
        target=lambda: outcomes.append(running.migrate(filler_bytes=20_000_000, snapshot_rate_bps=20_000_000))
    )
    attempt.start()
    wait_until(lambda: running_snapshot(running), "the snapshot is under way")
    os.kill(destination.pid, signal.SIGKILL)
    attempt.join(WAIT_S)
    assert [outcome.outcome for outcome in outcomes] == ["aborted"], outcomes
    before = len(running.flows.received)
    wait_until(lambda: len(running.flows.received) > before + 100, "traffic after the abort")
    assert_lossless(running, "source", tmp_path / "state.npz")
    assert running.status("source").phase == "live"


def running_snapshot(running: Running) -> bool:
    """Whether the destination has both streams: three connections of its process, the control connection included."""
    return len([line for line in tcp_sockets(running, "destination") if line.state == "01"]) >= 3


@dataclass(frozen=True)
class TcpSocket:
    """A line of /proc/net/tcp: local address and state as the kernel writes them (0A: listening, 01: connected)."""

    address: str
    state: str


def tcp_sockets(running: Running, node: str) -> list[TcpSocket]:
    text = running.in_node(node, lambda: Path("/proc/thread-self/net/tcp").read_text())
    fields = [line.split() for line in text.splitlines()[1:]]
    addresses = [socket.inet_ntoa(bytes.fromhex(line[1].split(":")[0])[::-1]) for line in fields]
    return [TcpSocket(address, line[3]) for address, line in zip(addresses, fields, strict=True)]


def test_instances_listen_on_their_management_address_only_and_hide_the_secret(running: Running) -> None:
    prepare = PrepareInRequest(epoch=1, mode="statelet", deadline_ns=5_000_000_000)
    running.channels["destination"].request(prepare, Prepared, soon())
    listening = [line.address for line in tcp_sockets(running, "destination") if line.state == "0A"]
    assert listening == [names.MANAGEMENT_ADDRESSES["destination"]] * 3
    token = running.settings.drain_token.hex().encode()
    for started in running.processes.values():
        for name in ("cmdline", "environ"):
            assert token not in Path(f"/proc/{started.process.pid}/{name}").read_bytes()
    running.channels["destination"].request(AbortRequest(epoch=1, reason="test"), Accepted, soon())


def test_a_controller_without_the_secret_is_refused(running: Running) -> None:
    running.channels["destination"].close()
    address, port = names.MANAGEMENT_ADDRESSES["destination"], running.processes["destination"].ready["control_port"]
    with pytest.raises(ProtocolError, match="does not hold the secret"):
        running.in_node(names.FABRIC, lambda: ControllerChannel.open(address, port, bytes(32), soon(), "destination"))
