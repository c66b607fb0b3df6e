"""The delay element as an image. It keeps no state; the table is there because an arena has at least one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.dataplane.abi import ANNOUNCE_SIGNATURE, FORWARD_SIGNATURE, INSTALL_SIGNATURE, verdict
from harness.dataplane.jit import vnf_function
from harness.dataplane.table import TableSpec, Words
from harness.dataplane.wire.octets import Octets
from vnf_images.parameters import complete_parameters

__all__ = ["REASONS", "announce", "configure", "forward", "install", "table_specs"]

REASONS: dict[int, str] = {1: "frame_malformed"}


def table_specs(parameters: Mapping[str, Any]) -> list[TableSpec]:
    """One table that stays empty; raises UsageError for any parameter."""
    complete_parameters(Path(__file__).parent, parameters)
    return [TableSpec("none", key_words=1, value_words=1, max_entries=1)]


def configure(tables: Words, parameters: Mapping[str, Any]) -> None:
    """There is nothing to configure."""


@vnf_function(ANNOUNCE_SIGNATURE)
def announce(packet: Octets, length: int, port: int, now_ns: int, tables: Words, statelet: Octets) -> int:
    """No frame changes any state."""
    return 0


@vnf_function(INSTALL_SIGNATURE)
def install(statelet: Octets, length: int, tables: Words) -> int:
    """There is no statelet to install."""
    return -1


@vnf_function(FORWARD_SIGNATURE)
def forward(packet: Octets, length: int, port: int, now_ns: int, tables: Words, statelet: Octets) -> int:
    """The frame leaves at the other port of its pair, as it is."""
    if length < 0 or length > packet.size or port < 0:
        return -1
    return verdict(length, port ^ 1)  # type: ignore[no-any-return]
