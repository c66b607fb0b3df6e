"""What a frame is to the NAT, decided from the frame and the configuration alone; nothing is written."""

from __future__ import annotations

import numpy as np

from harness.dataplane.abi import EXTERIOR_PORT, INTERIOR_PORT
from harness.dataplane.jit import compiled
from harness.dataplane.table import Words
from harness.dataplane.wire import arp, ethernet, icmp, ipv4, tcp, udp
from harness.dataplane.wire.octets import Number, Octets, get_u16
from vnf_images.nat import reasons
from vnf_images.nat.layout import ADDRESS_AT, GATEWAY_AT, MAC_AT, MASK_AT, config, in_prefix, port_config

IS_ARP = 0
OUTBOUND = 1
INBOUND = 2


@compiled
def classify(frame: Octets, length: Number, port: Number, tables: Words) -> Number:
    """IS_ARP, OUTBOUND or INBOUND (then every field up to the transport header is sound), or -reason."""
    if length < ethernet.HEADER_BYTES or length > frame.size or port < INTERIOR_PORT or port > EXTERIOR_PORT:
        return np.int64(-reasons.FRAME_MALFORMED)
    receiver = ethernet.destination(frame)
    own = receiver == port_config(tables, port, MAC_AT)
    ethertype = ethernet.ethertype(frame)
    if ethertype == ethernet.ETHERTYPE_ARP:
        if not own and receiver != ethernet.BROADCAST:
            return np.int64(-reasons.NOT_FOR_US)
        return _classify_arp(frame, length, port, tables)
    if not own:
        return np.int64(-reasons.NOT_FOR_US)
    if ethertype != ethernet.ETHERTYPE_IPV4:
        return np.int64(-reasons.NOT_IPV4)
    header = ipv4.check(frame, length)
    if header != ipv4.SOUND:
        return -_header_reason(header)
    refusal = _transport_refusal(frame)
    if refusal == 0 and ipv4.ttl(frame) <= 1:
        refusal = np.int64(reasons.TTL_EXPIRED)
    if refusal == 0:
        refusal = _outbound_refusal(frame, tables) if port == INTERIOR_PORT else _inbound_refusal(frame, tables)
    if refusal != 0:
        return -refusal
    return np.int64(OUTBOUND if port == INTERIOR_PORT else INBOUND)


@compiled
def _classify_arp(frame: Octets, length: Number, port: Number, tables: Words) -> Number:
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


@compiled
def _transport_refusal(frame: Octets) -> Number:
    protocol = ipv4.protocol(frame)
    if protocol == ipv4.PROTOCOL_UDP:
        return np.int64(0 if udp.check(frame) else reasons.TRANSPORT_MALFORMED)
    if protocol == ipv4.PROTOCOL_TCP:
        return np.int64(0 if tcp.check(frame) else reasons.TRANSPORT_MALFORMED)
    if protocol == ipv4.PROTOCOL_ICMP:
        return np.int64(0 if icmp.check(frame) else reasons.TRANSPORT_MALFORMED)
    return np.int64(reasons.PROTOCOL)


@compiled
def _outbound_refusal(frame: Octets, tables: Words) -> Number:
    if not in_prefix(tables, INTERIOR_PORT, ipv4.source(frame)):
        return np.int64(reasons.BAD_SOURCE)
    destination = ipv4.destination(frame)
    if destination == port_config(tables, INTERIOR_PORT, ADDRESS_AT):
        return np.int64(reasons.ADDRESSED_TO_NAT)
    if destination == port_config(tables, EXTERIOR_PORT, ADDRESS_AT):
        return np.int64(reasons.HAIRPIN)
    if next_hop(destination, tables) == 0:
        return np.int64(reasons.NO_ROUTE)
    if ipv4.protocol(frame) == ipv4.PROTOCOL_ICMP and not icmp.is_echo(frame, icmp.ECHO_REQUEST):
        return np.int64(reasons.ICMP_NOT_ECHO)
    return np.int64(0)


@compiled
def _inbound_refusal(frame: Octets, tables: Words) -> Number:
    source = ipv4.source(frame)
    from_inside = source == port_config(tables, INTERIOR_PORT, ADDRESS_AT) or in_prefix(tables, INTERIOR_PORT, source)
    if not ipv4.is_unicast(source) or from_inside or source == port_config(tables, EXTERIOR_PORT, ADDRESS_AT):
        return np.int64(reasons.BAD_SOURCE)
    if ipv4.destination(frame) != port_config(tables, EXTERIOR_PORT, ADDRESS_AT):
        return np.int64(reasons.NO_ROUTE)
    if ipv4.protocol(frame) == ipv4.PROTOCOL_ICMP and not icmp.is_echo(frame, icmp.ECHO_REPLY):
        return np.int64(reasons.ICMP_NOT_ECHO)
    return np.int64(0)


@compiled
def next_hop(destination: Number, tables: Words) -> Number:
    """Address on the exterior link to send to, 0 if there is no route."""
    if in_prefix(tables, EXTERIOR_PORT, destination):
        return destination
    own = port_config(tables, EXTERIOR_PORT, ADDRESS_AT)
    mask = port_config(tables, EXTERIOR_PORT, MASK_AT)
    inside_mask = port_config(tables, INTERIOR_PORT, MASK_AT)
    inside = port_config(tables, INTERIOR_PORT, ADDRESS_AT)
    on_link = destination & mask == own & mask  # network and broadcast address
    if on_link or destination & inside_mask == inside & inside_mask or not ipv4.is_unicast(destination):
        return np.int64(0)
    return config(tables, GATEWAY_AT)


@compiled
def inner_port(frame: Octets, inbound: bool) -> Number:
    """The port on the NAT's side of the translation: source port going out, destination port coming in; ICMP's id."""
    if ipv4.protocol(frame) == ipv4.PROTOCOL_ICMP:
        return icmp.identifier(frame)
    return get_u16(frame, udp.DESTINATION_PORT_AT if inbound else udp.SOURCE_PORT_AT)


@compiled
def remote_port(frame: Octets, inbound: bool) -> Number:
    """The port of the other side, of UDP and TCP."""
    return get_u16(frame, udp.SOURCE_PORT_AT if inbound else udp.DESTINATION_PORT_AT)
