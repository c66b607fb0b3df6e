"""Teaches an instance the neighbours the load will need, as the load itself does at its start: by asking for it."""

from __future__ import annotations

import socket
import struct
import time

from harness.dataplane.packet_socket import mac_bytes
from harness.errors import DeadlineExceeded
from harness.experiment.processes import EXTERIOR_ADDRESS, INTERIOR_ADDRESS
from harness.testbed import topology as names
from harness.testbed.testbed import Testbed

_ETHERTYPE_ARP = 0x0806
_RETRY_S = 0.05
_DEADLINE_S = 2.0
_FRAME_BYTES = 60
_REPLY_AT, _SENDER_IP_AT, _TARGET_IP_AT = 20, 28, 38


def arp_request(mac: str, address: str, target: str) -> bytes:
    """Broadcast ARP request (RFC 826): who has `target`, tell `address`."""
    sender = mac_bytes(mac)
    head = b"\xff" * 6 + sender + struct.pack("!HHHBBH", _ETHERTYPE_ARP, 1, 0x0800, 6, 4, 1)
    body = sender + socket.inet_aton(address) + bytes(6) + socket.inet_aton(target)
    return (head + body).ljust(_FRAME_BYTES, b"\0")


def introduce(testbed: Testbed, interior: str, exterior: str) -> None:
    """Have the instance that owns the VNF's addresses learn these two: it takes them from the requests it answers.

    DeadlineExceeded when it does not answer.
    """
    for node, address, gateway in (
        (names.LOADGEN, interior, INTERIOR_ADDRESS),
        (names.ECHOSERVER, exterior, EXTERIOR_ADDRESS),
    ):
        netns = testbed.topology.netns(node)
        with testbed.connection.socket_in(netns, socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind((testbed.port_link(node), _ETHERTYPE_ARP))
            sock.settimeout(_RETRY_S)
            _ask(sock, arp_request(names.NODE_MACS[node], address, gateway), gateway, address)


def _ask(sock: socket.socket, request: bytes, gateway: str, address: str) -> None:
    end = time.monotonic() + _DEADLINE_S
    while time.monotonic() < end:
        sock.send(request)
        try:
            while not _answers(sock.recv(2048), gateway, address):
                pass
        except TimeoutError:
            continue
        return
    raise DeadlineExceeded(f"calibration: no ARP answer from {gateway} to {address} within {_DEADLINE_S:g} s")


def _answers(frame: bytes, gateway: str, address: str) -> bool:
    return (
        len(frame) >= _TARGET_IP_AT + 4
        and frame[_REPLY_AT : _REPLY_AT + 2] == b"\x00\x02"
        and frame[_SENDER_IP_AT : _SENDER_IP_AT + 4] == socket.inet_aton(gateway)
        and frame[_TARGET_IP_AT : _TARGET_IP_AT + 4] == socket.inet_aton(address)
    )
