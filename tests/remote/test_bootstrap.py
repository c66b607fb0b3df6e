from __future__ import annotations

import ast
import json
import subprocess
import sys
import zipfile

import pytest

from harness.remote import bootstrap
from harness.remote.environment import _BOOTSTRAP
from harness.remote.wheel import make_wheel, requirements


@pytest.mark.parametrize(
    ("version", "limits", "met"),
    [
        ("2.0", ">=2.0,<2.6", True),
        ("2.0.0", ">=2.0,<2.6", True),
        ("2.5.9", ">=2.0,<2.6", True),
        ("2.6", ">=2.0,<2.6", False),
        ("2.6.0", "<2.6,>=2.0", False),
        ("1.26.4", ">=2.0,<2.6", False),
        ("10.1", ">=9,<11", True),
        ("0.0.21", "==0.0.21", True),
        ("0.0.22", "==0.0.21", False),
        ("1", "", True),
        ("1", "~=1.0", False),  # not understood is not met: pip decides then
    ],
)
def test_versions_are_compared_by_number(version, limits, met):
    assert bootstrap.meets(version, limits) is met


def test_what_runs_here_meets_its_own_requirements():
    assert len(requirements()) > 8
    assert bootstrap.missing(list(requirements())) == []
    assert bootstrap.missing(["no-such-distribution>=1"]) == ["no-such-distribution>=1"]


def test_the_script_needs_no_newer_python_to_say_that_one_is_too_old():
    ast.parse(_BOOTSTRAP.read_text(), feature_version=(3, 7))


def test_an_environment_runs_the_same_code(tmp_path):
    wheel = make_wheel()
    upload = tmp_path / "up" / wheel.file_name
    upload.parent.mkdir()
    upload.write_bytes(wheel.content)
    directory = tmp_path / "cache" / wheel.digest

    def run(*arguments):
        command = [sys.executable, "-", *map(str, arguments)]
        done = subprocess.run(command, input=_BOOTSTRAP.read_bytes(), capture_output=True, check=True)
        return json.loads(done.stdout)

    assert run("look", directory)["complete"] is False
    assert run("make", directory, upload, *requirements()) == {"complete": True}
    assert run("look", directory)["complete"] is True
    assert not upload.exists()
    ask = "from harness.remote import wheel; import numba; print(wheel.make_wheel().digest, wheel.__file__)"
    python = [directory / "bin" / "python", "-I", "-c", ask]
    digest, where = subprocess.run(python, capture_output=True, text=True, check=True, cwd="/").stdout.split()
    assert digest == wheel.digest
    assert where.startswith(str(directory))


def test_a_broken_wheel_leaves_nothing(tmp_path):
    upload = tmp_path / "up" / "x.whl"
    upload.parent.mkdir()
    upload.write_bytes(b"no archive")
    directory = tmp_path / "cache" / "x"
    directory.parent.mkdir()
    with pytest.raises(zipfile.BadZipFile):
        bootstrap.make(directory, upload, [])
    assert list(directory.parent.iterdir()) == []


def test_equal_code_makes_equal_bytes():
    make_wheel.cache_clear()
    first = make_wheel()
    make_wheel.cache_clear()
    assert make_wheel() == first
