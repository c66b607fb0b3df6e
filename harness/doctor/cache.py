"""Filling the cache of compiled code, so that a run starts at once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from harness.dataplane.jit import COMPILED_PACKAGES, SOURCES, cache_directory
from harness.errors import MachineError
from harness.profile.images import known_images
from harness.provision.scratch import scratch_directory

_LOCK = "compiling"


def files_stamp(root: Path = SOURCES) -> str:
    """Tells these very files from the same sources elsewhere, or written anew: Numba keeps compiled code by a file's
    path and its time of change, and what another checkout has compiled is of no use to this one.
    """
    digest = hashlib.sha256(str(root).encode())
    for package in COMPILED_PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root)} {path.stat().st_mtime_ns}".encode())
    return digest.hexdigest()


def complete_mark() -> Path:
    """The empty file that says: everything has been compiled for these very files. Each checkout has one of its own."""
    return cache_directory() / f"complete-{files_stamp()[:16]}"


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
    mark = complete_mark()
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    return mark.parent


def ensure_warm(say: Callable[[str], None]) -> None:
    """Fill the cache unless it was filled for exactly these files before; `say` is told when that takes time."""
    mark = complete_mark()
    if mark.exists():
        return
    say("compiling the packet path for these sources, once: a minute or two")
    mark.parent.mkdir(parents=True, exist_ok=True)
    with (mark.parent / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several at once would all compile the same
        if not mark.exists():
            warm_cache()
