"""The ends of the testbed's links, for tests that send and receive frames themselves."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from harness.testbed.testbed import Testbed

ETH_P_ALL = 3
NODE_MAC = {"source": "02:00:00:00:02:0b", "destination": "02:00:00:00:02:0c", "loadgen": "02:00:00:00:00:01"}
WAIT_S = 20.0
MARK = b"the frame everything before has arrived with"


def datagram(destination: str, payload: bytes = b"x" * 100, sport: int = 1) -> Ether:
    addresses = IP(src="10.1.1.1", dst="198.18.1.1")
    return Ether(src=NODE_MAC["loadgen"], dst=destination) / addresses / UDP(sport=sport, dport=2) / Raw(payload)


class Wire:
    """A raw socket on a node's uplink."""

    def __init__(self, testbed: Testbed, node: str, link: str = "up0") -> None:
        self.node = node
        self.socket = testbed.connection.socket_in(testbed.topology.netns(node), socket.AF_PACKET, socket.SOCK_RAW)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE: nothing may be lost here
        except PermissionError:  # in the user namespace of an ordinary user
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        self.socket.bind((link, ETH_P_ALL))
        self.socket.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
        self.socket.setblocking(False)

    def send(self, frame: Ether) -> None:
        self.socket.send(bytes(frame))

    def receive_until_mark(self) -> list[bytes]:
        """Frames up to the mark, which is a proof that no other frame is still on its way."""
        frames: list[bytes] = []
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self.socket], [], [], deadline - time.monotonic())
            if ready:
                data = self.socket.recv(65536)
                if MARK in data:
                    return frames
                frames.append(data)
        pytest.fail(f"the mark did not reach {self.node}")

    def close(self) -> None:
        self.socket.close()


FLOWS = 8


class Flood:
    """Numbered frames to the VNF from one node, as fast as it goes, until told to stop."""

    def __init__(self, wire: Wire, destination: str, stream: int) -> None:
        self._wire = wire
        # Several flows: frames of one flow are all received on the CPU its hash names, and prove little.
        self._heads = [bytes(datagram(destination, b"", sport=1000 + flow)) for flow in range(FLOWS)]
        self._stream = stream
        self._stop = threading.Event()
        self.started = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wire.socket.setblocking(True)
            head = self._heads[self.sent % FLOWS]
            self._wire.socket.send(head + struct.pack(">4sII", b"LOAD", self._stream, self.sent) + bytes(500))
            self.sent += 1
            if self.sent == 200:
                self.started.set()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
