"""Which VNF images exist and what their parameters are, found without importing any of them.

An image is a folder with an image.toml: one in the package `vnf_images`, or one an installed distribution declares
under the entry point group `harness.vnf_images` (name = image, value = the package that is the folder).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.errors import MachineError

PACKAGE = "vnf_images"
ENTRY_POINT_GROUP = "harness.vnf_images"
DESCRIPTION_FILE = "image.toml"


def known_images() -> dict[str, Path]:
    """Folder of every image by name. Images of the package `vnf_images` win over installed ones of the same name."""
    images: dict[str, Path] = {}
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        for folder in _folders(entry_point.value.partition(":")[0]):
            if (folder / DESCRIPTION_FILE).is_file():
                images[entry_point.name] = folder
    for package_folder in _folders(PACKAGE):
        for description in sorted(package_folder.glob(f"*/{DESCRIPTION_FILE}")):
            images[description.parent.name] = description.parent
    return images


def describe(folder: Path) -> Mapping[str, Any]:
    """Content of an image's image.toml. Raises MachineError when the installed image is broken."""
    path = folder / DESCRIPTION_FILE
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MachineError(f"{path}: the image's description cannot be read: {error}; reinstall the image") from None


def _folders(module: str) -> Iterator[Path]:
    """Folders of a package. Only the top-level name is looked up: finding a nested one would import its parents."""
    top, *rest = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return
    for location in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(location, *rest)
