"""The NAT's tables and configuration words from its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.dataplane.table import TableSpec, Words
from harness.errors import UsageError
from vnf_images.nat import layout
from vnf_images.parameters import complete_parameters
from vnf_images.ports import port_words, write_config

FOLDER = Path(__file__).parent
DECISECONDS_PER_SECOND = 10


def table_specs(parameters: Mapping[str, Any]) -> list[TableSpec]:
    """Tables for these parameters; raises UsageError for a parameter that is unknown or out of range."""
    complete = complete_parameters(FOLDER, parameters)
    return [
        TableSpec("mapping", key_words=1, value_words=1, max_entries=complete["max_mappings"]),
        TableSpec("external", key_words=1, value_words=1, max_entries=complete["max_mappings"]),
        TableSpec("session", key_words=2, value_words=1, max_entries=complete["max_sessions"]),
        TableSpec("host", key_words=1, value_words=4, max_entries=complete["max_hosts"]),
        TableSpec("neighbour", key_words=1, value_words=1, max_entries=complete["max_neighbours"]),
        TableSpec("pool", key_words=1, value_words=2, max_entries=3),
    ]


def configure(tables: Words, parameters: Mapping[str, Any]) -> None:
    """Write the configuration words; raises UsageError as `table_specs` does, and for addresses that do not fit."""
    complete = complete_parameters(FOLDER, parameters)
    words = {
        **port_words("nat", complete),
        layout.PORT_FIRST_AT: complete["port_first"],
        layout.PORT_LAST_AT: complete["port_last"],
        layout.UDP_TIMEOUT_AT: complete["udp_timeout_s"] * DECISECONDS_PER_SECOND,
        layout.ICMP_TIMEOUT_AT: complete["icmp_timeout_s"] * DECISECONDS_PER_SECOND,
        layout.TCP_ESTABLISHED_AT: complete["tcp_established_timeout_s"] * DECISECONDS_PER_SECOND,
        layout.TCP_TRANSITORY_AT: complete["tcp_transitory_timeout_s"] * DECISECONDS_PER_SECOND,
        layout.INBOUND_REFRESH_AT: int(complete["inbound_refresh"]),
        layout.EXPIRY_WINDOW_AT: complete["expiry_window_slots"],
    }
    if complete["port_first"] > complete["port_last"]:
        raise UsageError(f"nat: port_first {complete['port_first']} is above port_last {complete['port_last']}")
    write_config(tables, words)
