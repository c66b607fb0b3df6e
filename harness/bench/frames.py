"""Frames of many flows through the NAT, as a matrix of templates: UDP datagrams, ICMP echo requests, ARP requests."""

from __future__ import annotations

import socket

import numpy as np

from harness.dataplane.packet_socket import mac_bytes
from harness.dataplane.wire import ethernet, icmp, ipv4, udp
from harness.dataplane.wire.checksum import checksum
from harness.dataplane.wire.octets import put_u16
from harness.testbed import topology as names

ECHO_ADDRESSES = ("198.18.1.1", "198.18.1.2", "198.18.1.3", "198.18.1.4")
HOSTS = 16
_FIRST_HOST = 0x0A010101  # 10.1.1.1
_FIRST_PORT = 20_000
_ECHO_PORT = 7
_ARP_BYTES = 60


def _mac(text: str) -> int:
    return int.from_bytes(mac_bytes(text), "big")


def _address(text: str) -> int:
    return int.from_bytes(socket.inet_aton(text), "big")


def flow_frames(flows: int, frame_bytes: int, *, protocol: str = "udp", hosts: int = HOSTS) -> np.ndarray:
    """uint8[flows, frame_bytes]: one outbound frame of each flow, from interior hosts to the echo addresses.

    `protocol` is "udp" or "icmp" (echo requests). ValueError where a host would run out of ports.
    """
    if protocol not in ("udp", "icmp"):
        raise ValueError(f"protocol {protocol!r}: udp and icmp are possible")
    if flows > hosts * (65_536 - _FIRST_PORT):
        raise ValueError(f"{flows} flows of {hosts} hosts: a host has {65_536 - _FIRST_PORT} ports at most")
    frames = np.zeros((flows, frame_bytes), np.uint8)
    source, destination = _mac(names.NODE_MACS[names.LOADGEN]), _mac(names.VNF_INTERIOR_MAC)
    echo = [_address(text) for text in ECHO_ADDRESSES]
    number = ipv4.PROTOCOL_UDP if protocol == "udp" else ipv4.PROTOCOL_ICMP
    for flow, frame in enumerate(frames):
        ethernet.write(frame, destination, source, ethernet.ETHERTYPE_IPV4)
        addresses = (_FIRST_HOST + flow % hosts, echo[flow % len(echo)])
        ipv4.write(frame, frame_bytes - ipv4.HEADER_AT, number, *addresses, 64, flow & 0xFFFF)
        port = _FIRST_PORT + flow // hosts
        if protocol == "udp":
            udp.write(frame, port, _ECHO_PORT, frame_bytes - udp.SOURCE_PORT_AT)
            udp.write_checksum(frame)
        else:
            frame[icmp.TYPE_AT] = icmp.ECHO_REQUEST
            put_u16(frame, icmp.IDENTIFIER_AT, port)
            put_u16(frame, icmp.CHECKSUM_AT, checksum(frame, icmp.TYPE_AT, frame_bytes))
    return frames


def echo_arp_requests() -> np.ndarray:
    """uint8[4, 60]: ARP requests (RFC 826) of the echo addresses for the NAT's, from which it learns all of them."""
    frames = np.zeros((len(ECHO_ADDRESSES), _ARP_BYTES), np.uint8)
    sender = _mac(names.NODE_MACS[names.ECHOSERVER])
    fixed = bytes.fromhex("0001080006040001")
    for frame, address in zip(frames, ECHO_ADDRESSES, strict=True):
        ethernet.write(frame, ethernet.BROADCAST, sender, ethernet.ETHERTYPE_ARP)
        body = fixed + mac_bytes(names.NODE_MACS[names.ECHOSERVER]) + socket.inet_aton(address)
        body += bytes(6) + socket.inet_aton("198.18.0.1")
        frame[14 : 14 + len(body)] = np.frombuffer(body, np.uint8)
    return frames
