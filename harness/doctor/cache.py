"""Filling the cache of compiled code, so that a run starts at once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from harness.dataplane.jit import cache_directory
from harness.errors import MachineError
from harness.profile.images import known_images
from harness.provision.scratch import scratch_directory

_COMPLETE = "complete"
"""Name of the file that says for which files everything has been compiled into this directory."""
_PROGRAMS = Path(__file__).resolve().parents[2]
_PACKAGES = ("harness/dataplane", "vnf_images", "loadgen")
_LOCK = "compiling"


def files_stamp(root: Path = _PROGRAMS) -> str:
    """Tells these very files from the same sources elsewhere, or written anew: Numba keeps compiled code by a file's
    path and its time of change, and what another checkout has compiled is of no use to this one.
    """
    digest = hashlib.sha256(str(root).encode())
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root)} {path.stat().st_mtime_ns}".encode())
    return digest.hexdigest()


def warm_cache() -> Path:
    """Compile everything that runs compiled, side by side in processes of their own, exactly as it is started later.

    Returns the directory; takes a minute or two once and two seconds after that. MachineError when a part does not
    compile.
    """
    folders = [str(folder) for folder in known_images().values()]
    commands = [
        [sys.executable, "-m", "harness.vei.warm", *folders],
        [sys.executable, "-m", "loadgen.warm"],
        [sys.executable, "-m", "harness.latency_generator.warm"],
    ]
    failed = []
    with scratch_directory("compile") as scratch:
        environment = {**os.environ, "TMPDIR": str(scratch)}
        processes = [subprocess.Popen(command, stderr=subprocess.PIPE, env=environment) for command in commands]
        for command, process in zip(commands, processes, strict=True):
            _, errors = process.communicate()
            if process.returncode != 0:
                last = errors.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
                failed.append(f"{command[2]} (exit status {process.returncode}): {last[0]}")
    if failed:
        raise MachineError(f"the packet path does not compile: {'; '.join(failed)}")
    directory = cache_directory()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _COMPLETE).write_text(files_stamp())
    return directory


def ensure_warm(say: Callable[[str], None]) -> None:
    """Fill the cache unless it was filled for exactly these files before; `say` is told when that takes time."""
    directory = cache_directory()
    mark, stamp = directory / _COMPLETE, files_stamp()
    if _content(mark) == stamp:
        return
    say("compiling the packet path for these sources, once: a minute or two")
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several at once would all compile the same
        if _content(mark) != stamp:
            warm_cache()


def _content(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
