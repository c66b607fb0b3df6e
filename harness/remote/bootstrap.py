"""Runs on a host before anything of ours is there, read from standard input: nothing but the standard library, and no
syntax that Python 3.7 does not have, so that an old one can say that it is too old.

    python3 - look DIRECTORY                       what is there
    python3 - make DIRECTORY WHEEL REQUIREMENT...  the environment from an uploaded wheel

Prints one JSON object. An environment is made beside its place and moved there when it is complete.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MINIMUM = (3, 11)
_LIMIT = re.compile(r"\s*(>=|<|==)\s*([0-9][0-9.]*)\s*")
_DISTRIBUTION = re.compile(r"[A-Za-z0-9._-]+")


def look(directory: Path) -> dict[str, Any]:
    """The interpreter, and whether the environment is there; the folder for it is made for the upload."""
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {
        "python": list(sys.version_info[:3]),
        "directory": str(directory),
        "complete": (directory / "complete").exists(),
        "free_bytes": shutil.disk_usage(str(directory.parent)).free,
    }


def missing(requirements: list[str]) -> list[str]:
    """Requirements the interpreter at hand does not meet, by the versions it has installed."""
    from importlib import metadata

    found = []
    for requirement in requirements:
        name = _DISTRIBUTION.match(requirement)
        try:
            if name is None or not meets(metadata.version(name.group()), requirement[name.end() :]):
                found.append(requirement)
        except metadata.PackageNotFoundError:
            found.append(requirement)
    return found


def meets(version: str, limits: str) -> bool:
    """Whether a version is within limits such as ">=1.2,<2"; other operators are not used by this project."""
    at = _numbers(version)
    for limit in filter(None, limits.split(",")):
        match = _LIMIT.fullmatch(limit)
        if match is None:
            return False  # what is not understood is for pip to decide
        other = _numbers(match.group(2))
        length = max(len(at), len(other))
        ours, theirs = (numbers + [0] * (length - len(numbers)) for numbers in (at, other))
        if not {">=": ours >= theirs, "<": ours < theirs, "==": ours == theirs}[match.group(1)]:
            return False
    return True


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"[0-9]+", version)[:4]]


def make(directory: Path, wheel: Path, requirements: list[str]) -> dict[str, Any]:
    """A virtual environment with the wheel in it. Where the interpreter meets the requirements they are used as they
    are; otherwise pip installs them."""
    import venv
    import zipfile

    lacking = missing(requirements)
    scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=str(directory.parent)))
    try:
        venv.EnvBuilder(system_site_packages=not lacking, symlinks=True, with_pip=bool(lacking)).create(str(scratch))
        python = str(scratch / "bin" / "python")
        if lacking:
            command = [python, "-m", "pip", "install", "--quiet", "--no-input", str(wheel)]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode:
                said = done.stdout.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
                return {"error": f"pip cannot install {', '.join(lacking)[:200]}: {said[0][:300]}"}
        else:
            ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
            packages = Path(subprocess.check_output([python, "-c", ask]).decode().strip())
            with zipfile.ZipFile(str(wheel)) as archive:
                archive.extractall(str(packages))
            # The interpreter may itself be one of a virtual environment, whose packages a new one does not see.
            base = [path for path in sys.path if path.endswith("-packages") and Path(path).is_dir()]
            (packages / "base.pth").write_text("".join(f"{path}\n" for path in base))
        (scratch / "complete").touch()
        try:
            scratch.rename(directory)
        except OSError:
            # Somebody else has made it meanwhile; that one is as good.
            if not (directory / "complete").exists():
                raise
    finally:
        shutil.rmtree(str(scratch), ignore_errors=True)
        shutil.rmtree(str(wheel.parent), ignore_errors=True)
    return {"complete": True}


def main(arguments: list[str]) -> dict[str, Any]:
    """The object to print; "error" in it is one line for the user."""
    if sys.version_info[:2] < MINIMUM:
        ours, needed = (".".join(map(str, version)) for version in (sys.version_info[:2], MINIMUM))
        return {"error": f"Python {ours} is too old; {needed} or later is needed; set python in the inventory"}
    try:
        directory = Path(arguments[1]).expanduser()
        if arguments[0] == "look":
            return look(directory)
        return make(directory, Path(arguments[2]), arguments[3:])
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return {"error": str(error)[:300]}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1:])))
