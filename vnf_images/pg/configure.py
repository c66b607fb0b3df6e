"""The gateway's tables and configuration words from its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.dataplane.table import TableSpec, Words
from harness.errors import UsageError
from vnf_images.parameters import complete_parameters
from vnf_images.pg import layout
from vnf_images.ports import port_words, write_config

FOLDER = Path(__file__).parent


def _bearer_pieces(complete: Mapping[str, Any]) -> int:
    pieces, rest = divmod(complete["bearer_bytes"], layout.PIECE_BYTES)
    if rest:
        raise UsageError(f"pg: bearer_bytes = {complete['bearer_bytes']} must be a multiple of {layout.PIECE_BYTES}")
    return int(pieces)


def table_specs(parameters: Mapping[str, Any]) -> list[TableSpec]:
    """Tables for these parameters; raises UsageError for a parameter that is unknown or out of range."""
    complete = complete_parameters(FOLDER, parameters)
    bearer_words = (_bearer_pieces(complete) + 1) // 2
    return [
        TableSpec(
            "subscriber", key_words=1, value_words=layout.BEARER + bearer_words, max_entries=complete["max_subscribers"]
        ),
        TableSpec("neighbour", key_words=1, value_words=1, max_entries=complete["max_neighbours"]),
    ]


def configure(tables: Words, parameters: Mapping[str, Any]) -> None:
    """Write the configuration words; raises UsageError as `table_specs` does, and for addresses that do not fit."""
    complete = complete_parameters(FOLDER, parameters)
    words = {
        **port_words("pg", complete),
        layout.CELLS_AT: complete["cells"],
        layout.BEARER_PIECES_AT: _bearer_pieces(complete),
    }
    write_config(tables, words)
