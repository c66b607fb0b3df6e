"""What a frame is to the gateway, decided from the frame and the configuration alone; nothing is written."""

from __future__ import annotations

import numpy as np

from harness.dataplane.abi import EXTERIOR_PORT, INTERIOR_PORT
from harness.dataplane.jit import compiled
from harness.dataplane.table import Words
from harness.dataplane.wire import ipv4, udp
from harness.dataplane.wire.octets import Number, Octets
from vnf_images.frames import IS_IPV4, check_frame
from vnf_images.pg import reasons, tag
from vnf_images.pg.layout import is_cell
from vnf_images.ports import ADDRESS_AT, in_prefix, is_exterior_source, next_hop, port_config
from vnf_images.reasons import BAD_SOURCE, NO_ROUTE, TRANSPORT_MALFORMED, TTL_EXPIRED

OUTBOUND = 1
INBOUND = 2


@compiled
def classify(frame: Octets, length: Number, port: Number, tables: Words) -> Number:
    """IS_ARP, OUTBOUND or INBOUND (then every field up to the tag is sound), or -reason."""
    kind = check_frame(frame, length, port, tables)
    if kind != IS_IPV4:
        return kind
    refusal = _refusal(frame)
    if refusal == 0:
        refusal = _outbound_refusal(frame, tables) if port == INTERIOR_PORT else _inbound_refusal(frame, tables)
    if refusal != 0:
        return -refusal
    return np.int64(OUTBOUND if port == INTERIOR_PORT else INBOUND)


@compiled
def _refusal(frame: Octets) -> Number:
    if ipv4.protocol(frame) != ipv4.PROTOCOL_UDP:
        return np.int64(reasons.NOT_UDP)
    if not udp.check(frame):
        return np.int64(TRANSPORT_MALFORMED)
    return np.int64(TTL_EXPIRED if ipv4.ttl(frame) <= 1 else 0)


@compiled
def _outbound_refusal(frame: Octets, tables: Words) -> Number:
    if not in_prefix(tables, INTERIOR_PORT, ipv4.source(frame)):
        return np.int64(BAD_SOURCE)
    destination = ipv4.destination(frame)
    if destination in (port_config(tables, INTERIOR_PORT, ADDRESS_AT), port_config(tables, EXTERIOR_PORT, ADDRESS_AT)):
        return np.int64(reasons.ADDRESSED_TO_GATEWAY)
    if next_hop(destination, tables) == 0:
        return np.int64(NO_ROUTE)
    if not tag.is_tagged(frame):
        return np.int64(reasons.UNTAGGED)
    if not tag.is_sound(frame):
        return np.int64(reasons.TAG_MALFORMED)
    return np.int64(0 if is_cell(tables, tag.cell(frame)) else reasons.UNKNOWN_CELL)


@compiled
def _inbound_refusal(frame: Octets, tables: Words) -> Number:
    if not is_exterior_source(tables, ipv4.source(frame)):
        return np.int64(BAD_SOURCE)
    destination = ipv4.destination(frame)
    if destination in (port_config(tables, INTERIOR_PORT, ADDRESS_AT), port_config(tables, EXTERIOR_PORT, ADDRESS_AT)):
        return np.int64(reasons.ADDRESSED_TO_GATEWAY)
    if not in_prefix(tables, INTERIOR_PORT, destination):
        return np.int64(NO_ROUTE)
    return np.int64(0 if tag.is_tagged(frame) else reasons.UNTAGGED)
