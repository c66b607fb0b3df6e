"""An experiment directory as one archive: packed on the host that made it, unpacked with care where the sweep is."""

from __future__ import annotations

import io
import shutil
import tarfile
import zlib
from pathlib import Path

from harness.errors import HarnessError

BYTES_MAX = 4 << 30
"""Of all files of an experiment with one run."""
_GZIP = 16 + zlib.MAX_WBITS
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
    try:
        with tarfile.open(fileobj=_decompressed(archive), mode="r:") as tar:
            members = tar.getmembers()
            (top,) = {_parts(member)[0] for member in members} or {""}
            if not top or (runs / top).exists():
                raise HarnessError(f"a result whose directory {top!r:.80} cannot be taken")
            shutil.rmtree(incoming, ignore_errors=True)
            incoming.mkdir()
            for member in members:
                _extract(tar, member, incoming.joinpath(*_parts(member)))
        folders = [path.name for path in sorted((incoming / top).glob("01-*")) if path.is_dir()]
        if len(folders) != 1:
            raise HarnessError(f"a result that holds {len(folders)} runs, not one")
        (incoming / top).rename(runs / top)
        incoming.rmdir()
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError) as error:
        shutil.rmtree(incoming, ignore_errors=True)
        raise HarnessError(f"a result that cannot be unpacked: {str(error) or type(error).__name__:.120}") from error
    except HarnessError:
        shutil.rmtree(incoming, ignore_errors=True)
        raise
    return runs / top / folders[0]


def _parts(member: tarfile.TarInfo) -> tuple[str, ...]:
    """Of a path that stays below where it is unpacked. ValueError for any other, and for what is neither a file nor a
    directory: with neither links nor "..", nothing that is unpacked can lead elsewhere."""
    parts = tuple(member.name.split("/"))
    if not (member.isreg() or member.isdir()) or any(part.startswith(".") or not part for part in parts):
        raise ValueError(f"{member.name!r:.80} in it")
    return parts


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True)
    content = tar.extractfile(member)
    assert content is not None
    with path.open("xb") as file:
        shutil.copyfileobj(content, file)


def _decompressed(archive: bytes) -> io.BytesIO:
    """In one go: going back and forth in a compressed file costs more than all the rest. HarnessError where it is
    larger than a run may be."""
    stream = zlib.decompressobj(_GZIP)
    content = stream.decompress(archive, BYTES_MAX)
    if stream.unconsumed_tail:
        raise HarnessError("a result that is larger than a run may be")
    if not stream.eof:
        raise EOFError("it ends too early")
    return io.BytesIO(content)
