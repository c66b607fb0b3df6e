"""An experiment directory as one archive: packed on the host that made it, unpacked with care where the sweep is."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

from harness.errors import HarnessError

BYTES_MAX = 8 << 30
"""Of all files of an experiment with one run."""
INCOMING = ".incoming"
"""Folder beside the runs in which a result is unpacked; what is in `runs` is whole."""


def packed(folder: Path, name: str) -> bytes:
    """The directory `name` below `folder` as a compressed tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        tar.add(folder / name, name)
    return buffer.getvalue()


def unpack(archive: bytes, runs: Path) -> Path:
    """Unpack an experiment directory with one run below `runs`; returns the run's folder.

    HarnessError for anything else, and nothing is left of it: archives come from other machines.
    """
    incoming = runs.parent / INCOMING
    shutil.rmtree(incoming, ignore_errors=True)
    try:
        incoming.mkdir()
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            members = tar.getmembers()
            tops = {Path(member.name).parts[0] for member in members if Path(member.name).parts}
            if len(tops) != 1 or sum(member.size for member in members) > BYTES_MAX:
                raise HarnessError("a result that is not one experiment directory")
            (top,) = tops
            if top.startswith((".", "/")) or (runs / top).exists():
                raise HarnessError(f"a result whose directory {top!r:.80} cannot be taken")
            tar.extractall(incoming, members, filter="data")
        folders = [path.name for path in sorted((incoming / top).glob("01-*")) if path.is_dir()]
        if len(folders) != 1:
            raise HarnessError(f"a result that holds {len(folders)} runs, not one")
        (incoming / top).rename(runs / top)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise HarnessError(f"a result that cannot be unpacked: {str(error) or type(error).__name__:.120}") from error
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return runs / top / folders[0]
