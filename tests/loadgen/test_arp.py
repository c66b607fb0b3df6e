from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from ipaddress import IPv4Address

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, Ether

from harness.errors import DeadlineExceeded
from loadgen.arp import answer_request, build_request, parse_reply, resolve_gateway
from tests.loadgen.frames import ECHO_MAC, LOADGEN_MAC, VNF_MAC, in_slot

MAC = bytes.fromhex(LOADGEN_MAC.replace(":", ""))
OWN = np.frombuffer(bytearray(MAC), np.uint8)
ADDRESSES = [IPv4Address("10.1.1.1"), IPv4Address("10.1.1.2")]
ANSWERED = np.array([int(address) for address in ADDRESSES], np.uint32)
GATEWAY = IPv4Address("10.1.0.1")


def question(target: str, operation: int = 1) -> bytes:
    return bytes(
        Ether(src=VNF_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(op=operation, hwsrc=VNF_MAC, psrc="10.1.0.1", pdst=target)
    )


@pytest.mark.parametrize("target", ["10.1.1.1", "10.1.1.2"])
def test_request_for_an_own_address_becomes_its_reply(target: str) -> None:
    slot, _ = in_slot(question(target))
    length = answer_request(slot, 42, OWN, ANSWERED)
    assert length == 60
    reply = Ether(slot[:length].tobytes())
    assert (reply.src, reply.dst, reply[ARP].op) == (LOADGEN_MAC, VNF_MAC, 2)
    assert (reply[ARP].hwsrc, reply[ARP].psrc) == (LOADGEN_MAC, target)
    assert (reply[ARP].hwdst, reply[ARP].pdst) == (VNF_MAC, "10.1.0.1")
    assert slot[42:60].tobytes() == bytes(18)


@pytest.mark.parametrize(
    ("frame", "length"),
    [
        (question("10.1.1.3"), 42),
        (question("10.1.1.1", operation=2), 42),
        (question("10.1.1.1"), 41),
        (bytes(Ether(dst=LOADGEN_MAC) / ARP(ptype=0x86DD, pdst="10.1.1.1")), 42),
        (bytes(Ether(dst=LOADGEN_MAC) / ARP(hwlen=8, pdst="10.1.1.1")), 42),
    ],
    ids=["other address", "reply", "truncated", "other protocol", "other hardware"],
)
def test_everything_else_is_left_alone(frame: bytes, length: int) -> None:
    slot, _ = in_slot(frame)
    before = slot.copy()
    assert answer_request(slot, length, OWN, ANSWERED) == 0
    np.testing.assert_array_equal(slot, before)


def test_request_is_what_scapy_expects_it_to_be() -> None:
    data = build_request(MAC, ADDRESSES[0], GATEWAY)
    assert len(data) == 60
    frame = Ether(data)
    assert (frame.src, frame.dst, frame[ARP].op) == (LOADGEN_MAC, "ff:ff:ff:ff:ff:ff", 1)
    assert (frame[ARP].hwsrc, frame[ARP].psrc, frame[ARP].pdst) == (LOADGEN_MAC, "10.1.1.1", "10.1.0.1")


@settings(max_examples=300)
@given(st.binary(max_size=80) | st.builds(lambda n: question("10.1.1.1", 2)[:n], st.integers(0, 41)))
def test_any_bytes_are_no_reply(data: bytes) -> None:
    assert parse_reply(data) is None


class Gateway(threading.Thread):
    """A gateway at the other end of a socket pair: answers every request but the first `deaf` ones.

    Before each answer it sends junk, answers that are for somebody else, and a question of its own.
    """

    def __init__(self, sock: socket.socket, deaf: int) -> None:
        super().__init__()
        self.sock, self.deaf = sock, deaf
        self.answers: list[bytes] = []

    def run(self) -> None:
        asked = itertools.count()
        with contextlib.suppress(OSError):
            while data := self.sock.recv(2048):
                arp = Ether(data)[ARP]
                if arp.op == 2:
                    self.answers.append(data)
                elif next(asked) >= self.deaf:
                    self.sock.send(b"\x01")
                    self.sock.send(question("10.1.1.2"))
                    self.reply(arp.psrc, "10.1.0.2", ECHO_MAC)
                    self.reply("10.1.1.77", "10.1.0.1", ECHO_MAC)
                    self.reply(arp.psrc, str(arp.pdst), VNF_MAC)

    def reply(self, target: str, sender: str, mac: str) -> None:
        arp = ARP(op=2, hwsrc=mac, psrc=sender, hwdst=LOADGEN_MAC, pdst=target)
        self.sock.send(bytes(Ether(src=mac, dst=LOADGEN_MAC) / arp))


@pytest.mark.parametrize("deaf", [0, 3])
def test_gateway_is_resolved_for_every_address_though_requests_get_lost(deaf: int) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    gateway = Gateway(theirs, deaf)
    gateway.start()
    with theirs:
        with ours:
            deadline_ns = 2**62
            assert resolve_gateway(ours, MAC, ADDRESSES, ANSWERED, GATEWAY, deadline_ns) == bytes.fromhex(
                "020000000100"
            )
        gateway.join(10)
    assert not gateway.is_alive()
    assert gateway.answers
    assert all(Ether(data)[ARP].psrc == "10.1.1.2" for data in gateway.answers)


def test_silent_gateway_ends_at_the_deadline_and_names_what_is_missing() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    times = iter(range(0, 10**12, 20_000_000))
    with ours, theirs, pytest.raises(DeadlineExceeded, match=r"10\.1\.0\.1 to 2 of 2 addresses \(10\.1\.1\.1 first\)"):
        resolve_gateway(ours, MAC, ADDRESSES, ANSWERED, GATEWAY, 200_000_000, clock_ns=lambda: next(times))
