"""A machine with a kernel of its own: User Mode Linux on the host's files, which it can read and not change.

The guest is one CPU and an ordinary process of the host; it needs no privilege there. Its root is the host's root by
hostfs, mounted read-only; memory lies over every place that is written to, and what shall remain goes to one directory.
Kernel and modules are those of Debian's package user-mode-linux, which has what the kernels of many clouds lack: netem.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.dataplane.jit import cache_directory
from harness.doctor.cache import ensure_warm

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("linux.uml", "linux")
PACKAGE = "user-mode-linux"
MODULES_DIRECTORY = Path("/usr/lib/uml/modules")
MODULES = ("overlay", "veth", "bridge", "sch_tbf", "sch_netem")
OUT = Path("/mnt/out")
"""In the guest: the directory of the host that `boot` was given."""
SCRATCH = Path("/mnt/scratch")
"""In the guest: room for files that nobody needs later."""
_COVERED = ("/mnt", "/tmp", "/run", "/dev/shm")
_MEMORY = "2048M"
_END_S = 10.0


class GuestFailed(Exception):
    """The guest did not carry out its orders: `str` is the reason with the last lines of its console."""


@dataclass(frozen=True)
class Ended:
    """A command of the guest that ran to its end. `output`: both streams together."""

    exit_status: int
    seconds: float
    output: str


def kernel_program() -> str | None:
    """Path of the guest's kernel; None where the package is not installed."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


def boot(
    folder: Path,
    commands: Sequence[Sequence[str]],
    deadline_s: float,
    environment: Mapping[str, str] | None = None,
) -> list[Ended]:
    """Boot, run the commands one after the other in the checkout as root of the guest, halt; returns how they ended.

    `folder` is an empty directory: commands find it as OUT and leave there what shall remain. Nothing of the guest
    outlives the call. GuestFailed when it did not end by itself within `deadline_s`, or not all commands did.
    """
    program = kernel_program()
    if program is None:
        raise GuestFailed(f"no {' or '.join(PROGRAMS)} in PATH: install {PACKAGE}")
    if any(character.isspace() for character in f"{folder}{sys.executable}{ROOT}"):
        raise GuestFailed(
            f"{folder}, {sys.executable} and {ROOT} are given on a kernel's command line: no spaces there"
        )
    (folder / "orders.json").write_text(json.dumps(_orders(commands, environment or {})))
    console = folder / "console"
    argv = [
        program,
        f"mem={_MEMORY}",
        *("rootfstype=hostfs", "rootflags=/", "root=none", "ro", "quiet"),
        *("con=null", "con0=null,fd:1", f"uml_dir={folder}/uml"),
        f"init={sys.executable}",
        *("--", "-I", str(Path(__file__).with_name("init.py")), str(folder)),
    ]
    with console.open("wb") as output:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _favour(process.pid)
        process.wait(deadline_s)
    except subprocess.TimeoutExpired:
        raise GuestFailed(f"the guest did not end within {deadline_s:g} s\n{_tail(folder)}") from None
    finally:
        _end(process)
    ended = _ended(folder)
    if len(ended) < len(commands):
        raise GuestFailed(f"the guest ended after {len(ended)} of {len(commands)} commands\n{_tail(folder)}")
    return ended


def _orders(commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> dict[str, Any]:
    ensure_warm(print)
    written = (ROOT, cache_directory().resolve())
    needed = {*written, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    return {
        "covered": _COVERED,
        "kept": sorted(str(path) for path in needed if any(path.is_relative_to(place) for place in _COVERED)),
        "overlaid": [str(path) for path in written],
        "out": str(OUT),
        "scratch": str(SCRATCH),
        "modules_directory": str(MODULES_DIRECTORY),
        "modules": MODULES,
        "directory": str(ROOT),
        "commands": [list(command) for command in commands],
        "environment": {
            "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "NUMBA_CACHE_DIR": str(written[1]),
            **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
            **environment,
        },
    }


def _favour(pid: int) -> None:
    """Keep the guest on one CPU, and before other programs where that is permitted.

    The guest's kernel and its processes take turns at every system call: 15 us on one CPU, three times that between
    two. What else runs on the machine would delay its clock ticks, and be taken for the testbed's doing.
    """
    with contextlib.suppress(OSError):
        os.sched_setaffinity(pid, {max(os.sched_getaffinity(pid))})
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, -20)
        Path(f"/proc/{pid}/autogroup").write_text("-20")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the guest and what its processes are on the host: one process group of its own, with its id."""
    if process.poll() is None:
        process.terminate()  # its kernel then ends what it runs
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
    deadline = time.monotonic() + _END_S
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(process.pid, signal.SIGKILL)
            process.poll()
            time.sleep(0.01)
    process.wait(_END_S)


def _ended(folder: Path) -> list[Ended]:
    try:
        entries = json.loads((folder / "status.json").read_text())
    except FileNotFoundError:
        return []
    return [
        Ended(entry["exit_status"], entry["seconds"], (folder / f"{number}.out").read_text(errors="replace"))
        for number, entry in enumerate(entries)
    ]


def _tail(folder: Path) -> str:
    """The end of what the guest has written last."""
    names = ("console", *sorted(path.name for path in folder.glob("*.out")))
    texts = {name: (folder / name).read_text(errors="replace").splitlines()[-30:] for name in names}
    return "\n".join(line for name, lines in texts.items() for line in (f"-- {name}", *lines))
