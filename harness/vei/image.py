"""Loading a VNF image from its folder: image.toml, and program.py with the functions and tables.

Nothing is imported by name: which images exist is known to whoever gives the folder. program.py exports REASONS,
`table_specs(parameters)`, `configure(tables, parameters)`, `announce`, `install` and `forward`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.dataplane.instance import ImageFunctions
from harness.dataplane.table import make_arena
from harness.errors import HarnessError, MachineError, UsageError

DESCRIPTION_FILE = "image.toml"
PROGRAM = "program"
_EXPORTS = ("REASONS", "table_specs", "configure", "announce", "install", "forward")


def load_image(folder: Path, parameters: Mapping[str, Any], seed: int) -> ImageFunctions:
    """The image in `folder` with its tables made for `parameters`; `seed` (64 bits) goes into the tables' hash.

    Raises MachineError where the folder is not an image, UsageError for a parameter it does not accept.
    """
    description = _describe(folder)
    declared = description.get("parameters", {})
    for name, value in parameters.items():
        _check_parameter(str(description["name"]), name, value, declared)
    program = _import_program(folder)
    try:
        tables = make_arena(program.table_specs(parameters), seed)
    except ValueError as error:
        raise UsageError(f"image {description['name']}: {error}") from error
    program.configure(tables, parameters)
    return ImageFunctions(
        name=str(description["name"]),
        version=str(description["version"]),
        tables=tables,
        announce=program.announce,
        install=program.install,
        forward=program.forward,
        reasons=dict(program.REASONS),
    )


def _describe(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION_FILE
    try:
        description = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MachineError(f"{path}: not the description of an image: {error}") from error
    missing = [key for key in ("name", "version") if not isinstance(description.get(key), str)]
    if missing:
        raise MachineError(f"{path}: {' and '.join(missing)} missing")
    return description


def _check_parameter(image: str, name: str, value: object, declared: Mapping[str, Any]) -> None:
    """Name and type; the range is the image's own business. Raises UsageError."""
    if name not in declared:
        raise UsageError(f"image {image}: unknown parameter {name!r}; known are {', '.join(declared) or 'none'}")
    default = declared[name].get("default")
    if default is not None and type(value) is not type(default):
        raise UsageError(f"image {image}: {name} = {value!r} must be like its default {default!r}")


def _import_program(folder: Path) -> ModuleType:
    """program.py as part of the package its folder belongs to, so that its own imports work."""
    folder = folder.resolve()
    parts = [PROGRAM]
    root = folder
    while (root / "__init__.py").is_file():
        parts.append(root.name)
        root = root.parent
    if len(parts) == 1:
        return _import_file(folder / f"{PROGRAM}.py")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    name = ".".join(reversed(parts))
    try:
        program = importlib.import_module(name)
    except HarnessError:
        raise
    except Exception as error:
        raise MachineError(f"{folder}: the image cannot be imported: {error}") from error
    if Path(program.__file__ or "").resolve().parent != folder:
        raise MachineError(f"{folder}: another package named {name} comes first ({program.__file__})")
    return _checked(program, folder)


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"vnf_image_{path.parent.name}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise MachineError(f"{path}: not there; an image needs it")
    program = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = program
    try:
        spec.loader.exec_module(program)
    except HarnessError:
        raise
    except Exception as error:
        raise MachineError(f"{path}: the image cannot be imported: {error}") from error
    return _checked(program, path.parent)


def _checked(program: ModuleType, folder: Path) -> ModuleType:
    missing = [name for name in _EXPORTS if not hasattr(program, name)]
    if missing:
        raise MachineError(f"{folder / PROGRAM}.py: exports no {', '.join(missing)}")
    return program
