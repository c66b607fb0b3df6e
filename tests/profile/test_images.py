from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from harness.errors import MachineError
from harness.profile import images


def test_images_of_the_package_are_found_without_importing_them():
    code = (
        "import sys; from harness.profile.images import known_images; names = known_images();"
        "print('nat' in names, any(m.split('.')[0] == 'vnf_images' for m in sys.modules), 'numba' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.split() == ["True", "False", "False"]


def test_an_installed_image_is_found_by_its_entry_point(tmp_path, monkeypatch):
    folder = tmp_path / "their_package" / "firewall"
    folder.mkdir(parents=True)
    (tmp_path / "their_package" / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "image.toml").write_text("[parameters.depth]\ndefault = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    declared = [
        EntryPoint("firewall", "their_package.firewall", images.ENTRY_POINT_GROUP),
        EntryPoint("gone", "no_such_package.image", images.ENTRY_POINT_GROUP),
    ]
    monkeypatch.setattr(images, "entry_points", lambda group: declared)
    known = images.known_images()
    assert known["firewall"] == folder
    assert "gone" not in known
    assert images.describe(known["firewall"])["parameters"]["depth"]["default"] == 3


def test_a_broken_description_is_the_machines_fault(tmp_path):
    (tmp_path / "image.toml").write_text("[")
    with pytest.raises(MachineError, match="cannot be read"):
        images.describe(tmp_path)
