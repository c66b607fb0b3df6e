"""ARP for IPv4 over Ethernet (RFC 826)."""

from __future__ import annotations

import numpy as np

from harness.dataplane.jit import compiled
from harness.dataplane.wire import ethernet
from harness.dataplane.wire.octets import Number, Octets, get_u16, get_u32, get_u48, put_u16, put_u32, put_u48

FIXED_AT = 14
OPERATION_AT = 20
SENDER_MAC_AT = 22
SENDER_IP_AT = 28
TARGET_MAC_AT = 32
TARGET_IP_AT = 38
PACKET_BYTES = 42
"""Frame bytes up to the end of the ARP packet."""

REQUEST = 1
REPLY = 2


@compiled
def check(frame: Octets, length: Number) -> bool:
    """Whether the frame is a whole request or reply for IPv4 over Ethernet; the ethertype is the caller's matter."""
    if length < PACKET_BYTES or length > frame.size:
        return False
    if get_u48(frame, FIXED_AT) != 0x0001_0800_0604:
        return False
    return bool(operation(frame) == REQUEST or operation(frame) == REPLY)


@compiled
def operation(frame: Octets) -> Number:
    """REQUEST or REPLY."""
    return get_u16(frame, OPERATION_AT)


@compiled
def sender_mac(frame: Octets) -> Number:
    """Sender's hardware address."""
    return get_u48(frame, SENDER_MAC_AT)


@compiled
def sender_ip(frame: Octets) -> Number:
    """Sender's protocol address."""
    return get_u32(frame, SENDER_IP_AT)


@compiled
def target_ip(frame: Octets) -> Number:
    """Target's protocol address."""
    return get_u32(frame, TARGET_IP_AT)


@compiled
def write(
    frame: Octets, arp_operation: Number, own_mac: Number, own_ip: Number, peer_mac: Number, peer_ip: Number
) -> Number:
    """Write a whole frame from `own` to `peer`, padded to 60 bytes; its length.

    A request goes to the broadcast address, whatever `peer_mac`; the buffer must hold 60 bytes.
    """
    target_mac = np.int64(peer_mac)
    receiver = target_mac
    if arp_operation == REQUEST:
        target_mac = np.int64(0)
        receiver = np.int64(ethernet.BROADCAST)
    ethernet.write(frame, receiver, own_mac, ethernet.ETHERTYPE_ARP)
    put_u48(frame, FIXED_AT, 0x0001_0800_0604)
    put_u16(frame, OPERATION_AT, arp_operation)
    put_u48(frame, SENDER_MAC_AT, own_mac)
    put_u32(frame, SENDER_IP_AT, own_ip)
    put_u48(frame, TARGET_MAC_AT, target_mac)
    put_u32(frame, TARGET_IP_AT, peer_ip)
    for at in range(PACKET_BYTES, ethernet.MIN_FRAME_BYTES):
        frame[at] = np.uint8(0)
    return np.int64(ethernet.MIN_FRAME_BYTES)
