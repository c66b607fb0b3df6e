"""What a frame is to an image that routes, up to the IPv4 header; from the frame and the configuration alone."""

from __future__ import annotations

import numpy as np

from harness.dataplane.abi import EXTERIOR_PORT, INTERIOR_PORT
from harness.dataplane.jit import compiled
from harness.dataplane.table import Words
from harness.dataplane.wire import arp, ethernet, ipv4
from harness.dataplane.wire.octets import Number, Octets
from vnf_images import reasons
from vnf_images.ports import ADDRESS_AT, MAC_AT, in_prefix, port_config

IS_ARP = 0
"""What every image's own classification also calls a request or reply to take."""
IS_IPV4 = 1


@compiled
def check_frame(frame: Octets, length: Number, port: Number, tables: Words) -> Number:
    """IS_ARP: a request or reply to take; IS_IPV4: for us, with a sound header without options; or -reason."""
    if length < ethernet.HEADER_BYTES or length > frame.size or port < INTERIOR_PORT or port > EXTERIOR_PORT:
        return np.int64(-reasons.FRAME_MALFORMED)
    receiver = ethernet.destination(frame)
    own = receiver == port_config(tables, port, MAC_AT)
    ethertype = ethernet.ethertype(frame)
    if ethertype == ethernet.ETHERTYPE_ARP:
        if not own and receiver != ethernet.BROADCAST:
            return np.int64(-reasons.NOT_FOR_US)
        return _check_arp(frame, length, port, tables)
    if not own:
        return np.int64(-reasons.NOT_FOR_US)
    if ethertype != ethernet.ETHERTYPE_IPV4:
        return np.int64(-reasons.NOT_IPV4)
    header = ipv4.check(frame, length)
    if header != ipv4.SOUND:
        return -_header_reason(header)
    return np.int64(IS_IPV4)


@compiled
def _check_arp(frame: Octets, length: Number, port: Number, tables: Words) -> Number:
    if not arp.check(frame, length) or not ethernet.is_station(arp.sender_mac(frame)):
        return np.int64(-reasons.ARP_MALFORMED)
    if arp.target_ip(frame) != port_config(tables, port, ADDRESS_AT):
        return np.int64(-reasons.ARP_OTHER)
    sender = arp.sender_ip(frame)
    is_probe = arp.operation(frame) == arp.REQUEST and sender == 0  # RFC 5227
    if not is_probe and not in_prefix(tables, port, sender):
        return np.int64(-reasons.BAD_SOURCE)
    return np.int64(IS_ARP)


@compiled
def _header_reason(header: Number) -> Number:
    if header == ipv4.HAS_OPTIONS:
        return np.int64(reasons.IP_OPTIONS)
    if header == ipv4.BAD_CHECKSUM:
        return np.int64(reasons.IP_CHECKSUM)
    if header == ipv4.IS_FRAGMENT:
        return np.int64(reasons.FRAGMENT)
    return np.int64(reasons.IP_MALFORMED)
