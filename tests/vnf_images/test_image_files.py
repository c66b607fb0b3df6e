"""image.toml against the program it describes."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

import vnf_images
from harness.dataplane.table import make_arena
from vnf_images.nat import layout
from vnf_images.neighbours import ARP_EXTERIOR, ARP_STATELET_BYTES
from vnf_images.pg.layout import statelet_bytes

FOLDERS = sorted(path.parent for path in Path(vnf_images.__file__).parent.glob("*/image.toml"))


def description(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "image.toml").read_text())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_image_describes_itself_and_exports_what_the_engine_needs(folder: Path) -> None:
    image = description(folder)
    assert image["name"] == folder.name
    assert {"version", "description", "header_bytes", "ports"} <= set(image)
    program = importlib.import_module(f"vnf_images.{folder.name}.program")
    for name in ("announce", "install", "forward", "table_specs", "configure"):
        assert callable(getattr(program, name))
    assert isinstance(program.REASONS, dict)
    for section in image.get("parameters", {}).values():
        assert "help" in section
        assert ("minimum" in section) == ("maximum" in section)


@pytest.mark.parametrize("name", ["nat", "pg"])
def test_an_image_describes_its_tables_and_statelets_as_they_are(name: str) -> None:
    image = description(next(folder for folder in FOLDERS if folder.name == name))
    program = importlib.import_module(f"vnf_images.{name}.program")
    specs = program.table_specs({})
    declared = {table: (len(words["key"]), len(words["value"])) for table, words in image["tables"].items()}
    assert declared == {spec.name: (spec.key_words, spec.value_words) for spec in specs}
    tables = make_arena(specs)
    program.configure(tables, {})
    for statelet in image["statelets"]:
        number, size = statelet["id"], statelet["payload_bytes"]
        if number <= ARP_EXTERIOR:
            assert size == ARP_STATELET_BYTES - 4
        elif name == "nat":
            assert size == layout.payload_bytes(number & 0xFFF0, number & 0xF)
        else:
            assert size == statelet_bytes(tables) - 4 == 50
