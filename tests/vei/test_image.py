"""Loading images from folders: of a package, on their own, and broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.dataplane.table import table_specs
from harness.errors import MachineError, UsageError
from harness.vei.image import load_image

ROOT = Path(__file__).parents[2]
TOML = 'name = "own"\nversion = "2"\n[parameters.size]\ndefault = 4\n'
PROGRAM = """
from harness.dataplane.table import TableSpec
REASONS = {1: "short"}
def table_specs(parameters): return [TableSpec("t", 1, 1, parameters.get("size", 4))]
def configure(tables, parameters): tables[8] = 77
announce = install = forward = None
"""


def image(folder: Path, toml: str = TOML, program: str | None = PROGRAM) -> Path:
    folder.mkdir()
    (folder / "image.toml").write_text(toml)
    if program is not None:
        (folder / "program.py").write_text(program)
    return folder


def test_an_image_of_the_package_is_loaded_by_its_folder() -> None:
    loaded = load_image(ROOT / "vnf_images" / "latency", {}, seed=1)
    assert loaded.name == "latency"
    assert loaded.version
    assert loaded.reasons == {1: "frame_malformed"}


def test_a_folder_anywhere_is_an_image(tmp_path: Path) -> None:
    loaded = load_image(image(tmp_path / "own"), {"size": 9}, seed=5)
    assert (loaded.name, loaded.version, loaded.reasons) == ("own", "2", {1: "short"})
    assert table_specs(loaded.tables)[0].max_entries == 9
    assert (int(loaded.tables[3]), int(loaded.tables[8])) == (5, 77)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sise": 1}, "image own: unknown parameter 'sise'; known are size"),
        ({"size": "4"}, "size = '4' must be like its default 4"),
        ({"size": True}, "size = True must be like its default 4"),
        ({"size": 0}, "max_entries"),
    ],
)
def test_parameters_are_checked(tmp_path: Path, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_image(image(tmp_path / "own"), parameters, seed=0)


@pytest.mark.parametrize(
    ("toml", "program", "message"),
    [
        ("name = ", PROGRAM, "not the description of an image"),
        ('name = "own"\n', PROGRAM, "version missing"),
        (TOML, None, r"program\.py: not there"),
        (TOML, "import no_such_module_anywhere", "cannot be imported"),
        (TOML, "REASONS = {}", "exports no table_specs, configure"),
    ],
)
def test_broken_images_are_one_line(tmp_path: Path, toml: str, program: str | None, message: str) -> None:
    with pytest.raises(MachineError, match=message):
        load_image(image(tmp_path / "own", toml, program), {}, seed=0)


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"image\.toml: not the description"):
        load_image(tmp_path / "nowhere", {}, seed=0)
