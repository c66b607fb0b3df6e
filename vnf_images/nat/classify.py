"""What a frame is to the NAT, decided from the frame and the configuration alone; nothing is written."""

from __future__ import annotations

import numpy as np

from harness.dataplane.abi import EXTERIOR_PORT, INTERIOR_PORT
from harness.dataplane.jit import compiled
from harness.dataplane.table import Words
from harness.dataplane.wire import icmp, ipv4, tcp, udp
from harness.dataplane.wire.octets import Number, Octets, get_u16
from vnf_images.frames import IS_IPV4, check_frame
from vnf_images.nat import reasons
from vnf_images.ports import ADDRESS_AT, in_prefix, is_exterior_source, next_hop, port_config
from vnf_images.reasons import BAD_SOURCE, NO_ROUTE, TRANSPORT_MALFORMED, TTL_EXPIRED

OUTBOUND = 1
INBOUND = 2


@compiled
def classify(frame: Octets, length: Number, port: Number, tables: Words) -> Number:
    """IS_ARP, OUTBOUND or INBOUND (then every field up to the transport header is sound), or -reason."""
    kind = check_frame(frame, length, port, tables)
    if kind != IS_IPV4:
        return kind
    refusal = _transport_refusal(frame)
    if refusal == 0 and ipv4.ttl(frame) <= 1:
        refusal = np.int64(TTL_EXPIRED)
    if refusal == 0:
        refusal = _outbound_refusal(frame, tables) if port == INTERIOR_PORT else _inbound_refusal(frame, tables)
    if refusal != 0:
        return -refusal
    return np.int64(OUTBOUND if port == INTERIOR_PORT else INBOUND)


@compiled
def _transport_refusal(frame: Octets) -> Number:
    protocol = ipv4.protocol(frame)
    if protocol == ipv4.PROTOCOL_UDP:
        return np.int64(0 if udp.check(frame) else TRANSPORT_MALFORMED)
    if protocol == ipv4.PROTOCOL_TCP:
        return np.int64(0 if tcp.check(frame) else TRANSPORT_MALFORMED)
    if protocol == ipv4.PROTOCOL_ICMP:
        return np.int64(0 if icmp.check(frame) else TRANSPORT_MALFORMED)
    return np.int64(reasons.PROTOCOL)


@compiled
def _outbound_refusal(frame: Octets, tables: Words) -> Number:
    if not in_prefix(tables, INTERIOR_PORT, ipv4.source(frame)):
        return np.int64(BAD_SOURCE)
    destination = ipv4.destination(frame)
    if destination == port_config(tables, INTERIOR_PORT, ADDRESS_AT):
        return np.int64(reasons.ADDRESSED_TO_NAT)
    if destination == port_config(tables, EXTERIOR_PORT, ADDRESS_AT):
        return np.int64(reasons.HAIRPIN)
    if next_hop(destination, tables) == 0:
        return np.int64(NO_ROUTE)
    if ipv4.protocol(frame) == ipv4.PROTOCOL_ICMP and not icmp.is_echo(frame, icmp.ECHO_REQUEST):
        return np.int64(reasons.ICMP_NOT_ECHO)
    return np.int64(0)


@compiled
def _inbound_refusal(frame: Octets, tables: Words) -> Number:
    if not is_exterior_source(tables, ipv4.source(frame)):
        return np.int64(BAD_SOURCE)
    if ipv4.destination(frame) != port_config(tables, EXTERIOR_PORT, ADDRESS_AT):
        return np.int64(NO_ROUTE)
    if ipv4.protocol(frame) == ipv4.PROTOCOL_ICMP and not icmp.is_echo(frame, icmp.ECHO_REPLY):
        return np.int64(reasons.ICMP_NOT_ECHO)
    return np.int64(0)


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
