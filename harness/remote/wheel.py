"""Our own code as a wheel, made from the files that run here, so that a host runs exactly the same."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from pathlib import Path

from harness import __version__

NAME = "slim_harness"
DISTRIBUTION = "slim-harness"
_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("harness", "loadgen", "vnf_images")
_SUFFIXES = (".py", ".toml", ".typed", ".html", ".css", ".js", ".j2", ".svg")
_FOLDER = f"{NAME}-{__version__}.dist-info"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every file in the archive: equal content makes equal bytes."""


@dataclass(frozen=True)
class Wheel:
    """digest: of the content, 16 hex digits; it names the environment on a host."""

    file_name: str
    content: bytes
    digest: str


@cache
def requirements() -> tuple[str, ...]:
    """What the code needs beside itself, as pyproject.toml says, with the extra `hosts` where this side has it.

    Empty where the distribution is not installed.
    """
    try:
        lines = requires(DISTRIBUTION) or ()
    except PackageNotFoundError:
        return ()
    wanted = [line for line in lines if "extra ==" not in line]
    if find_spec("distributed") is not None:
        wanted += [line.partition(";")[0].strip() for line in lines if re.search(r"extra == ['\"]hosts['\"]", line)]
    return tuple(wanted)


@cache
def _files() -> dict[str, bytes]:
    """Every file of the wheel but its record, by its path there."""
    files = {
        path.relative_to(_ROOT).as_posix(): path.read_bytes()
        for package in _PACKAGES
        for path in sorted((_ROOT / package).rglob("*"))
        if path.is_file() and path.suffix in _SUFFIXES
    }
    metadata = ["Metadata-Version: 2.1", f"Name: {DISTRIBUTION}", f"Version: {__version__}"]
    metadata += [f"Requires-Dist: {line}" for line in requirements()]
    files[f"{_FOLDER}/METADATA"] = "\n".join([*metadata, ""]).encode()
    files[f"{_FOLDER}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: slim-harness\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    return files


@cache
def _record() -> str:
    return "".join(f"{name},sha256={_record_digest(data)},{len(data)}\n" for name, data in _files().items())


@cache
def code_digest() -> str:
    """Of the code that is running, 16 hex digits; equal where the same files make the same program. OSError."""
    return hashlib.sha256(_record().encode()).hexdigest()[:16]


@cache
def make_wheel() -> Wheel:
    """The wheel of the code that is running (PEP 427). OSError."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**_files(), f"{_FOLDER}/RECORD": f"{_record()}{_FOLDER}/RECORD,,\n".encode()}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
    return Wheel(f"{NAME}-{__version__}-py3-none-any.whl", buffer.getvalue(), code_digest())


def _record_digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
