"""ARP (RFC 826) for our own addresses, and one exchange per address with the gateway at start-up.

The exchange both resolves the gateway's MAC and teaches the gateway ours.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.dataplane.jit import compiled
from harness.errors import DeadlineExceeded
from loadgen.wire import DESTINATION_MAC, ETHERTYPE_ARP, SOURCE_MAC, get16, get32, put16, put32, signed

OPERATION, SENDER_MAC, SENDER_IP, TARGET_MAC, TARGET_IP = 20, 22, 28, 32, 38
ARP_BYTES = 42
FRAME_BYTES = 60
_REQUEST, _REPLY = 1, 2
_HARDWARE = struct.pack("!HHBB", 1, 0x0800, 6, 4)
RETRY_S = 0.05


@compiled
def answer_request(frame: Any, length: int, mac: Any, addresses: Any) -> int:
    """Turn an ARP request for one of `addresses` (uint32[n]) into its reply, in place; returns its length, else 0."""
    if length < ARP_BYTES or get32(frame, 14) != 0x00010800 or get16(frame, 18) != 0x0604:
        return 0
    if get16(frame, OPERATION) != 1:
        return 0
    target = get32(frame, TARGET_IP)
    for i in range(addresses.shape[0]):
        if signed(addresses[i]) == target:
            put16(frame, OPERATION, 2)
            for k in range(6):
                frame[TARGET_MAC + k] = frame[SENDER_MAC + k]
                frame[DESTINATION_MAC + k] = frame[SENDER_MAC + k]
                frame[SENDER_MAC + k] = mac[k]
                frame[SOURCE_MAC + k] = mac[k]
            put32(frame, TARGET_IP, get32(frame, SENDER_IP))
            put32(frame, SENDER_IP, target)
            for k in range(ARP_BYTES, 60):
                frame[k] = 0
            return 60
    return 0


def build_request(mac: bytes, address: IPv4Address, target: IPv4Address) -> bytes:
    """Broadcast request "who has `target`, tell `address`", padded to the shortest Ethernet frame."""
    frame = b"\xff" * 6 + mac + struct.pack("!H", ETHERTYPE_ARP) + _HARDWARE + struct.pack("!H", _REQUEST)
    return (frame + mac + address.packed + bytes(6) + target.packed).ljust(FRAME_BYTES, b"\0")


def parse_reply(frame: bytes) -> tuple[IPv4Address, bytes, IPv4Address] | None:
    """(sender address, sender MAC, target address) of an ARP reply, None for anything else."""
    if len(frame) < ARP_BYTES or frame[12:20] != struct.pack("!H", ETHERTYPE_ARP) + _HARDWARE:
        return None
    if frame[OPERATION : OPERATION + 2] != struct.pack("!H", _REPLY):
        return None
    sender = IPv4Address(frame[SENDER_IP : SENDER_IP + 4])
    target = IPv4Address(frame[TARGET_IP : TARGET_IP + 4])
    return sender, frame[SENDER_MAC : SENDER_MAC + 6], target


def resolve_gateway(
    sock: socket.socket,
    mac: bytes,
    addresses: Sequence[IPv4Address],
    answered: npt.NDArray[np.uint32],
    gateway: IPv4Address,
    deadline_ns: int,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> bytes:
    """Ask for `gateway` from each of `addresses` until each got its answer; returns the gateway's MAC.

    Requests for `answered` (uint32[n]) are answered meanwhile. Raises DeadlineExceeded at `deadline_ns` (monotonic).
    """
    waiting = set(addresses)
    own_mac = np.frombuffer(bytearray(mac), np.uint8)
    found = b""
    ask_at_ns = 0
    while waiting:
        now_ns = clock_ns()
        if now_ns >= deadline_ns:
            first = min(waiting)
            raise DeadlineExceeded(
                f"ARP: no answer from gateway {gateway} to {len(waiting)} of {len(addresses)} addresses "
                f"({first} first); is the VNF up and steered to?"
            )
        if now_ns >= ask_at_ns:
            for address in sorted(waiting):
                _send(sock, build_request(mac, address, gateway))
            ask_at_ns = now_ns + int(RETRY_S * 1e9)
        wait_s = max(0.0, (min(ask_at_ns, deadline_ns) - now_ns) / 1e9)
        if not select.select([sock], [], [], wait_s)[0]:
            continue
        try:
            frame = bytearray(sock.recv(2048))
        except OSError:
            # The link may still be going up or down; the deadline decides.
            time.sleep(0.001)
            continue
        reply = parse_reply(bytes(frame))
        if reply is not None and reply[0] == gateway and reply[2] in waiting and bytes(frame[:6]) == mac:
            found = reply[1]
            waiting.discard(reply[2])
        elif len(frame) >= ARP_BYTES and frame[12:14] == b"\x08\x06":
            padded = np.zeros(max(FRAME_BYTES, len(frame)), np.uint8)
            padded[: len(frame)] = np.frombuffer(frame, np.uint8)
            length = answer_request(padded, len(frame), own_mac, answered)
            if length:
                _send(sock, padded[:length].tobytes())
    return found


def _send(sock: socket.socket, frame: bytes) -> None:
    try:
        sock.send(frame)
    except OSError:
        # Lost like any frame on a link: the next round asks again.
        return
