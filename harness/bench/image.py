"""The NAT as an instance in this process. Images are found by folder and imported by name at run time only."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from harness.dataplane.instance import ImageFunctions
from harness.dataplane.table import make_arena
from harness.profile.images import describe, known_images

NAT = "nat"


def load_nat(parameters: Mapping[str, Any] | None = None, seed: int = 1) -> ImageFunctions:
    """The image `nat` with empty tables for `parameters`."""
    folder = known_images()[NAT]
    program = importlib.import_module(f"{folder.parent.name}.{folder.name}.program")
    given = dict(parameters or {})
    tables = make_arena(program.table_specs(given), seed)
    program.configure(tables, given)
    return ImageFunctions(
        name=NAT,
        version=str(describe(folder)["version"]),
        tables=tables,
        announce=program.announce,
        install=program.install,
        forward=program.forward,
        reasons=dict(program.REASONS),
    )
