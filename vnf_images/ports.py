"""The interior and the exterior port of an image that routes: their addresses, and which way a destination lies.

The image.toml declares `interior_address`, `interior_mac`, `exterior_address`, `exterior_mac` and `exterior_gateway`;
`port_words` turns them into the first configuration words of the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import types

from harness.dataplane.abi import EXTERIOR_PORT, INTERIOR_PORT, WORDS
from harness.dataplane.jit import compiled, compiled_as
from harness.dataplane.table import Words
from harness.dataplane.table_layout import CONFIG_AT
from harness.dataplane.wire import ipv4
from harness.dataplane.wire.octets import Number
from harness.errors import UsageError
from vnf_images.parameters import ipv4_address, ipv4_interface, mac_address

# Configuration words; the three of the exterior port follow those of the interior port.
ADDRESS_AT = 0
MASK_AT = 1
MAC_AT = 2
PORT_CONFIG_WORDS = 3
GATEWAY_AT = 6
OWN_CONFIG_AT = 7
"""First configuration word that is the image's own."""

LOW_32 = 0xFFFF_FFFF


def port_words(image: str, parameters: Mapping[str, Any]) -> dict[int, int]:
    """Configuration words (index: content) of both ports and the gateway.

    Raises:
        UsageError: an address that is none, prefixes that overlap, a gateway outside the exterior prefix.
    """
    words = {GATEWAY_AT: ipv4_address(image, "exterior_gateway", parameters["exterior_gateway"])}
    networks = []
    for port, side in enumerate(("interior", "exterior")):
        address, mask = ipv4_interface(image, f"{side}_address", parameters[f"{side}_address"])
        networks.append((address, mask))
        at = port * PORT_CONFIG_WORDS
        words[at + ADDRESS_AT] = address
        words[at + MASK_AT] = mask
        words[at + MAC_AT] = mac_address(image, f"{side}_mac", parameters[f"{side}_mac"])
    (interior, interior_mask), (exterior, exterior_mask) = networks
    common = interior_mask & exterior_mask
    if interior & common == exterior & common:
        raise UsageError(
            f"{image}: interior_address and exterior_address overlap; give the two ports different prefixes"
        )
    gateway = words[GATEWAY_AT]
    if gateway and (gateway & exterior_mask != exterior & exterior_mask or gateway == exterior):
        raise UsageError(f"{image}: exterior_gateway is not another address of the exterior prefix")
    return words


def write_config(tables: Words, words: Mapping[int, int]) -> None:
    """Write configuration words into the tables."""
    for index, word in words.items():
        tables[CONFIG_AT + index] = word


@compiled_as(types.int64(WORDS, types.int64))
def config(tables: Words, index: Number) -> Number:
    """A configuration word."""
    return np.int64(tables[CONFIG_AT + index])


@compiled_as(types.int64(WORDS, types.int64, types.int64))
def port_config(tables: Words, port: Number, index: Number) -> Number:
    """A configuration word of port 0 or 1: ADDRESS_AT, MASK_AT or MAC_AT."""
    return np.int64(tables[CONFIG_AT + PORT_CONFIG_WORDS * port + index])


@compiled_as(types.boolean(WORDS, types.int64, types.int64))
def in_prefix(tables: Words, port: Number, ip: Number) -> bool:
    """Whether an address can be another host's in the prefix of a port."""
    own = port_config(tables, port, ADDRESS_AT)
    mask = port_config(tables, port, MASK_AT)
    host = ip & ~mask & LOW_32
    return bool(ip & mask == own & mask and ip != own and host != 0 and host != ~mask & LOW_32)


@compiled
def is_exterior_source(tables: Words, ip: Number) -> bool:
    """Whether a packet from the exterior may come from this address: a host's that is not inside and not ours."""
    inside = ip == port_config(tables, INTERIOR_PORT, ADDRESS_AT) or in_prefix(tables, INTERIOR_PORT, ip)
    return bool(ipv4.is_unicast(ip) and not inside and ip != port_config(tables, EXTERIOR_PORT, ADDRESS_AT))


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
