"""The mobile packet gateway as an image: what the engine calls."""

from __future__ import annotations

from harness.dataplane.abi import ANNOUNCE_SIGNATURE, FORWARD_SIGNATURE, INSTALL_SIGNATURE
from harness.dataplane.jit import vnf_function
from harness.dataplane.table import Words
from harness.dataplane.wire.octets import Octets
from vnf_images.pg.announcing import announce_frame
from vnf_images.pg.configure import configure, table_specs
from vnf_images.pg.forwarding import forward_frame
from vnf_images.pg.installing import install_statelet
from vnf_images.pg.reasons import REASONS

__all__ = ["REASONS", "announce", "configure", "forward", "install", "table_specs"]


@vnf_function(ANNOUNCE_SIGNATURE)
def announce(packet: Octets, length: int, port: int, now_ns: int, tables: Words, statelet: Octets) -> int:
    """g: what the packet changes, as a statelet; changes nothing."""
    return announce_frame(packet, length, port, tables, statelet)  # type: ignore[no-any-return]


@vnf_function(INSTALL_SIGNATURE)
def install(statelet: Octets, length: int, tables: Words) -> int:
    """h: apply a statelet to the tables."""
    return install_statelet(statelet, length, tables)  # type: ignore[no-any-return]


@vnf_function(FORWARD_SIGNATURE)
def forward(packet: Octets, length: int, port: int, now_ns: int, tables: Words, statelet: Octets) -> int:
    """Rewrite the packet and name its port."""
    return forward_frame(packet, length, port, tables)  # type: ignore[no-any-return]
