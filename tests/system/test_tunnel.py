"""Tunnels between two hosts, each a namespace, joined by a veth: what passes, in which order, and what is refused."""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from harness.errors import MachineError
from harness.provision import kernel, messages
from harness.provision.clean import clean
from harness.provision.connections.local import LocalConnection
from harness.provision.ownership import Ownership
from harness.provision.task import Context, Task
from harness.provision.tasks.address import Addresses
from harness.provision.tasks.bridge import Bridge
from harness.provision.tasks.link import LinkEnd, VethPair
from harness.provision.tasks.lookup import link
from harness.provision.tasks.netns import NetworkNamespace
from harness.provision.tasks.sysctl import Sysctls
from harness.provision.tasks.vxlan import VxlanLink
from harness.provision.tunnel import Tunnel
from harness.provision.underlay import underlay_route
from tests.provision.contract import check_contract
from tests.system.conftest import ROOT, wait_until
from tests.system.untouched import Machine, connection, run_id, untouched  # noqa: F401 (fixtures)

ADDRESSES = {"left": "198.51.100.1", "right": "198.51.100.2"}
MACS = {"left": "02:00:00:00:0a:01", "right": "02:00:00:00:0a:02"}
VNI = 0xABCDE1
UNDERLAY_MTU = 1550
ETH_P_ALL, RTMGRP_LINK = 3, 1
WAIT_S = 10.0


class Place(NamedTuple):
    """Two hosts, and on each the namespace of a node: right's with a bridge, as the fabric's has one."""

    context: Context
    hosts: dict[str, str]
    nodes: dict[str, str]

    def tunnel(self, side: str, **changed: object) -> VxlanLink:
        other = "right" if side == "left" else "left"
        master = "br0" if side == "right" else None
        end = LinkEnd(self.nodes[side], "up0", MACS[side], gso_max_size_bytes=16384, master=master)
        ends = Tunnel(VNI, ADDRESSES[side], ADDRESSES[other])
        given = {"end": end, "tunnel": ends, **changed}
        return VxlanLink(side, given["end"], given["tunnel"], underlay=self.hosts[side])  # type: ignore[arg-type]

    def carry_out(self, *tasks: Task) -> None:
        for task in tasks:
            task.apply(self.context, task.diff(task.observe(self.context)))
            task.verify(self.context)

    def underlay_mtu(self, mtu_bytes: int) -> None:
        for netns in self.hosts.values():
            request = messages.link_set("lan0", [("IFLA_MTU", mtu_bytes)])
            self.context.connection.netlink(netns).transact([request])

    def packet_socket(self, netns: str, name: str) -> socket.socket:
        opened = self.context.connection.socket_in(netns, socket.AF_PACKET, socket.SOCK_RAW)
        opened.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE: nothing may be lost here
        opened.bind((name, ETH_P_ALL))
        opened.settimeout(WAIT_S)
        return opened

    def received_packets(self, side: str) -> int:
        found = link(self.context, self.nodes[side], "up0")
        assert found is not None
        return int(found.get_attr("IFLA_STATS64")["rx_packets"])


@pytest.fixture
def place(run_id: str, tmp_path: Path, untouched: Machine) -> Iterator[Place]:  # noqa: F811
    local = LocalConnection()
    with Ownership.acquire(run_id, tmp_path) as ownership:
        context = Context(local, ownership)
        hosts = {side: f"{run_id}-{side}" for side in ADDRESSES}
        nodes = {side: f"{run_id}-{side}node" for side in ADDRESSES}
        namespaces = [NetworkNamespace(name, name) for name in (*hosts.values(), *nodes.values())]
        made = Place(context, hosts, nodes)
        try:
            made.carry_out(*namespaces)
            quiet = {"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "1"}
            made.carry_out(*(Sysctls("n", task.netns, quiet) for task in namespaces))
            ends = [LinkEnd(hosts[side], "lan0", f"02:00:00:00:0b:0{n}", UNDERLAY_MTU) for n, side in enumerate(hosts)]
            made.carry_out(VethPair("n", *ends), Bridge("n", LinkEnd(nodes["right"], "br0", "02:00:00:00:0a:03")))
            made.carry_out(*(Addresses("n", hosts[side], "lan0", f"{ADDRESSES[side]}/24") for side in hosts))
            yield made
        finally:
            for task in reversed(namespaces):
                task.undo(context)
            local.close()


@pytest.fixture
def joined(place: Place) -> Place:
    place.carry_out(place.tunnel("left"), place.tunnel("right"))
    return place


def test_a_tunnel_keeps_the_contract_of_tasks(place: Place) -> None:
    check_contract(place.tunnel("left"), place.context)
    check_contract(place.tunnel("right"), place.context)


def test_a_tunnel_with_other_ends_is_made_anew_and_other_settings_are_changed(joined: Place) -> None:
    moved = joined.tunnel("left", tunnel=Tunnel(VNI, ADDRESSES["left"], "198.51.100.77"))
    joined.carry_out(moved)
    number = link(joined.context, joined.nodes["left"], "up0")["index"]  # type: ignore[index]
    joined.carry_out(joined.tunnel("left", tunnel=moved.tunnel, end=replace(moved.end, mtu_bytes=1400)))
    assert link(joined.context, joined.nodes["left"], "up0")["index"] == number  # type: ignore[index]


def test_it_is_never_a_link_of_the_host_whose_socket_it_has(place: Place) -> None:
    host = place.hosts["left"]
    with place.context.connection.socket_in(host, socket.AF_NETLINK, socket.SOCK_RAW) as news:
        news.bind((0, RTMGRP_LINK))
        place.carry_out(place.tunnel("left"))
        assert b"198.51" not in Path("/proc/self/net/udp").read_bytes()
        assert f":{4789:04X} " in place.context.connection.read_text(Path("/proc/thread-self/net/udp"), host)
        news.setblocking(False)
        with pytest.raises(BlockingIOError):
            news.recv(65536)


def test_full_frames_of_many_flows_pass_uncut_in_order_and_are_counted(joined: Place) -> None:
    count = 3000
    with (
        joined.packet_socket(joined.nodes["left"], "up0") as sender,
        joined.packet_socket(joined.nodes["right"], "up0") as receiver,
        joined.packet_socket(joined.hosts["right"], "lan0") as underlay,
    ):
        before = joined.received_packets("right")
        for number in range(count):
            inside = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1000 + number % 50, dport=2)
            payload = Raw(struct.pack(">I", number).ljust(1472))
            sender.send(bytes(Ether(src=MACS["left"], dst=MACS["right"]) / inside / payload))
        received = [receiver.recv(65536) for _ in range(count)]
        outside: list[bytes] = []
        while len(outside) < count:
            if (frame := underlay.recv(65536))[12:14] == b"\x08\x00":  # and not ARP
                outside.append(frame)
    assert {len(frame) for frame in received} == {1514}
    assert [struct.unpack_from(">I", frame, 42)[0] for frame in received] == list(range(count))
    assert joined.received_packets("right") - before == count
    headers = {(len(frame), *struct.unpack_from(">HHHH", frame, 34)) for frame in outside}
    source_port = joined.tunnel("left").tunnel.source_port
    # 14 + 50 + 1500 bytes, one source port, no checksum.
    assert headers == {(1564, source_port, 4789, 1530, 0)}


def test_tcp_in_large_pieces_passes_and_received_ones_are_not_merged(joined: Place) -> None:
    for side, address in (("left", "10.0.0.1/24"), ("right", "10.0.0.2/24")):
        inner = "up0" if side == "left" else "br0"
        joined.carry_out(Addresses("n", joined.nodes[side], inner, address))
    content = bytes(range(256)) * (64 << 10)
    received = bytearray()
    with (
        joined.context.connection.socket_in(joined.nodes["right"], socket.AF_INET, socket.SOCK_STREAM) as server,
        joined.context.connection.socket_in(joined.nodes["left"], socket.AF_INET, socket.SOCK_STREAM) as client,
        joined.packet_socket(joined.nodes["right"], "up0") as watch,
    ):
        server.bind(("10.0.0.2", 9))
        server.listen()
        client.settimeout(WAIT_S)
        client.connect(("10.0.0.2", 9))
        peer, _ = server.accept()
        with peer:
            peer.settimeout(WAIT_S)

            def take() -> None:
                while data := peer.recv(1 << 20):
                    received.extend(data)

            taking = threading.Thread(target=take)
            taking.start()
            client.sendall(content)
            client.shutdown(socket.SHUT_WR)
            taking.join(30)
        watch.setblocking(False)
        lengths = []
        with contextlib.suppress(BlockingIOError):
            while True:
                lengths.append(len(watch.recv(65536)))
    assert bytes(received) == content
    assert 8000 < max(lengths) <= 16384 + 14


def test_an_underlay_too_small_is_one_line_with_the_numbers_and_nothing_is_made(place: Place) -> None:
    place.underlay_mtu(1549)
    task = place.tunnel("left")
    with pytest.raises(MachineError, match=r"an MTU of 1500 needs packets of 1550 bytes .* lan0 takes 1549: raise"):
        task.apply(place.context, task.diff({}))
    assert task.observe(place.context) == {}


def test_no_way_to_the_other_host_is_one_line(place: Place) -> None:
    task = place.tunnel("left", tunnel=Tunnel(VNI, ADDRESSES["left"], "203.0.113.9"))
    with pytest.raises(MachineError, match=r"no route to 203\.0\.113\.9: "):
        task.apply(place.context, task.diff({}))


def test_the_way_to_another_host_is_known_with_its_mtu(place: Place) -> None:
    local, host = place.context.connection, place.hosts["left"]
    route = underlay_route(local, ADDRESSES["right"], host)
    assert (route.link, route.local, route.mtu_bytes) == ("lan0", ADDRESSES["left"], UNDERLAY_MTU)
    narrow = ["ip", "-n", host, "route", "add", f"{ADDRESSES['right']}/32", "dev", "lan0", "mtu", "1404"]
    subprocess.run(narrow, check=True, timeout=10)
    assert underlay_route(local, ADDRESSES["right"], host).mtu_bytes == 1404


def test_an_identifier_that_is_used_already_is_refused_and_the_user_of_it_named(
    joined: Place,
    foreign_namespace: str,
) -> None:
    local = joined.context.connection
    joined.tunnel("left").undo(joined.context)
    descriptor = local.open_namespace(foreign_namespace)
    data = [("IFLA_VXLAN_ID", VNI), ("IFLA_VXLAN_PORT", 4789), ("IFLA_VXLAN_GROUP", "198.51.100.50")]
    request = messages.vxlan_create("theirs", descriptor, [], data)
    local.netlink(joined.hosts["left"]).transact([request])
    task = joined.tunnel("left")
    try:
        said = (
            f"VNI {VNI} on UDP port 4789 is used on this host already, by link theirs of namespace {foreign_namespace}"
        )
        with pytest.raises(MachineError, match=said):
            task.apply(joined.context, task.diff({}))
        assert task.observe(joined.context) == {}
    finally:
        local.netlink(foreign_namespace).transact([messages.link_delete("theirs")])
        local.release(foreign_namespace)


def test_a_udp_port_that_is_taken_is_one_line(place: Place) -> None:
    task = place.tunnel("left")
    with place.context.connection.socket_in(place.hosts["left"], socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 4789))
        with pytest.raises(MachineError, match="another program of this host has UDP port 4789"):
            task.apply(place.context, task.diff(task.observe(place.context)))
    task.undo(place.context)
    assert task.observe(place.context) == {}


_PROGRAM = """
import sys
from pathlib import Path
from harness.provision.connections.local import LocalConnection
from harness.provision.ownership import Ownership
from harness.provision.task import Context
from harness.provision.tasks.link import LinkEnd
from harness.provision.tasks.netns import NetworkNamespace
from harness.provision.tasks.sysctl import Sysctls
from harness.provision.tasks.vxlan import VxlanLink
from harness.provision.tunnel import Tunnel

run_id, state, host = sys.argv[1:]
context = Context(LocalConnection(), Ownership.acquire(run_id, Path(state)))
end = LinkEnd(f"{run_id}-node", "up0", "02:00:00:00:0a:09")
for task in (
    NetworkNamespace("node", end.netns),
    VxlanLink("node", end, Tunnel(5, "198.51.100.1", "198.51.100.2"), end.netns, host),
):
    task.apply(context, task.diff(task.observe(context)))
print("standing", flush=True)
input()
"""


def test_what_a_killed_program_leaves_is_removed_with_its_namespace_and_socket(place: Place, tmp_path: Path) -> None:
    killed = f"t{secrets.token_hex(4)[:7]}"
    host = place.hosts["left"]
    state = tmp_path / "state"
    arguments = [sys.executable, "-c", _PROGRAM, killed, str(state), host]
    with subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as popen:
        assert popen.stdout is not None
        assert popen.stdout.readline() == "standing\n"
        popen.send_signal(signal.SIGKILL)
    # Of this process: its threads are in namespaces of their own.
    udp: Callable[[], str] = lambda: place.context.connection.read_text(Path("/proc/thread-self/net/udp"), host)  # noqa: E731
    assert f":{4789:04X} " in udp()
    assert ("namespace", f"{killed}-node") in {(item.kind, item.name) for item in clean(state)}
    assert kernel.namespace_identity(f"{killed}-node") is None
    wait_until(lambda: f":{4789:04X} " not in udp(), "the socket of the tunnel is closed")
    assert clean(state) == []
