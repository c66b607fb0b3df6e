"""The ARP table: one entry per port and address."""

from __future__ import annotations

import numpy as np

from harness.dataplane.jit import compiled
from harness.dataplane.table import Words, find, value
from harness.dataplane.wire.octets import Number
from vnf_images.nat.layout import NEIGHBOUR


@compiled
def neighbour_key(port: Number, ip: Number) -> Number:
    """Key of an ARP entry."""
    return (port << 32) | ip


@compiled
def neighbour_mac(tables: Words, port: Number, ip: Number) -> Number:
    """Ethernet address of a neighbour, 0 if unknown."""
    slot = find(tables, NEIGHBOUR, neighbour_key(port, ip))
    if slot < 0:
        return np.int64(0)
    return value(tables, NEIGHBOUR, slot, 0)
