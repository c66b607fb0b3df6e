"""Writes a report's files beside their place first, then moves them there whole; overwrites nothing but an earlier
report that is as it was written."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from harness.errors import UsageError

INDEX = "report.json"
KIND = "harness report"


def write_report(output: Path, files: Mapping[str, bytes], document: Mapping[str, object]) -> None:
    """`files` by relative name, and INDEX with `document` and their digests, become the directory `output`.

    UsageError when `output` exists and is not an unchanged report, or cannot be written.
    """
    output = Path(os.path.abspath(output))  # noqa: PTH100 - a link at the end must be seen, not followed
    refuse_foreign(output)
    staged = output.with_name(f".{output.name}.{secrets.token_hex(4)}.new")
    retired = staged.with_suffix(".old")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        staged.mkdir()
        for name, content in files.items():
            path = staged / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
        index = json.dumps({**document, "written_as": KIND, "files": digests}, indent=2, allow_nan=False)
        (staged / INDEX).write_text(index + "\n", encoding="utf-8")
        # Looked at again: drawing takes seconds, in which someone may have put something there.
        refuse_foreign(output)
        if output.exists():
            output.rename(retired)
        staged.rename(output)
    except OSError as error:
        if retired.exists() and not output.exists():
            retired.rename(output)
        raise UsageError(f"{output}: the report cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    _remove(retired)


def _remove(retired: Path) -> None:
    """Delete an earlier report, unless something came into it between the last look and its move: then it stays."""
    try:
        refuse_foreign(retired)
    except UsageError:
        return
    shutil.rmtree(retired, ignore_errors=True)


def refuse_foreign(output: Path) -> None:
    """UsageError when `output` exists and holds anything but an earlier report as that was written."""
    if not (output.exists() or output.is_symlink()):
        return
    if output.is_symlink() or not output.is_dir():
        raise UsageError(f"{output}: exists and is not a directory; choose another --output")
    try:
        present = sorted(path for path in output.rglob("*") if path.is_symlink() or not path.is_dir())
        if not present:
            return
        listed = _listed(output / INDEX)
        for path in present:
            name = path.relative_to(output).as_posix()
            if name == INDEX:
                continue
            foreign = path.is_symlink() or name not in listed
            if foreign or hashlib.sha256(path.read_bytes()).hexdigest() != listed[name]:
                what = "is not of an earlier report" if foreign else "was changed since the report was written"
                raise UsageError(f"{path}: {what}; nothing is overwritten, choose another --output or move it away")
    except OSError as error:
        raise UsageError(f"{output}: cannot be read ({error.strerror}); choose another --output") from error


def _listed(index: Path) -> Mapping[str, str]:
    """Digests of a report's files by name; empty when `index` is none of a report."""
    try:
        data = json.loads(index.read_bytes()) if index.is_file() and not index.is_symlink() else None
    except (ValueError, RecursionError):
        return {}
    if not isinstance(data, dict) or data.get("written_as") != KIND or not isinstance(data.get("files"), dict):
        return {}
    return {name: digest for name, digest in data["files"].items() if isinstance(digest, str)}
