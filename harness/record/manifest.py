"""The manifest of an experiment: on what, with what and how it ran. Written before the run."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import harness

PACKAGES = ("numpy", "numba", "llvmlite", "pyroute2", "pydantic", "scipy", "rich", "click", "psutil")
SCHEMA_VERSION = 1


def collect_manifest(
    *,
    experiment_id: str,
    profile: str,
    seed: int,
    command_line: Sequence[str],
    facts: Mapping[str, object],
    now: datetime | None = None,
) -> dict[str, object]:
    """Everything a reader needs to repeat the run; null where this machine does not say, which is never an error.

    facts: what provisioning found (kernel features, qdiscs and offloads before the run, ...), copied as given. Of the
    environment only NUMBA_* and PYTHON* switches are kept: other variables may hold secrets.
    """
    kernel = os.uname()
    return {
        "schema_version": SCHEMA_VERSION,
        "experiment_id": experiment_id,
        "profile": profile,
        "seed": seed,
        "command_line": list(command_line),
        "created_utc": (now or datetime.now(UTC)).astimezone(UTC).isoformat(),
        "harness_version": harness.__version__,
        "git": git_revision(Path(harness.__file__).parent),
        "python": {"version": platform.python_version(), "implementation": sys.implementation.name},
        "packages": {name: _package_version(name) for name in PACKAGES},
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(("NUMBA_", "PYTHONHASHSEED"))},
        "kernel": {"release": kernel.release, "version": kernel.version, "machine": kernel.machine},
        "cpu": {
            "model": cpu_model(_read(Path("/proc/cpuinfo"))),
            "online": os.cpu_count(),
            "usable": len(os.sched_getaffinity(0)),
        },
        "memory_bytes": memory_bytes(_read(Path("/proc/meminfo"))),
        "clock_source": _read(Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")),
        "facts": dict(facts),
    }


def cpu_model(cpuinfo: str | None) -> str | None:
    """Model of the first CPU in /proc/cpuinfo (`model name` on x86, `CPU part` on Arm)."""
    for key in ("model name", "CPU part"):
        for line in (cpuinfo or "").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return None


def memory_bytes(meminfo: str | None) -> int | None:
    """MemTotal of /proc/meminfo, which counts in KiB."""
    for line in (meminfo or "").splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[0] == "MemTotal:" and fields[1].isdigit():
            return int(fields[1]) * 1024
    return None


def git_revision(folder: Path) -> dict[str, object] | None:
    """{"revision", "changed"} of the checkout `folder` belongs to; None outside a checkout or without git."""
    revision = _git(folder, "rev-parse", "HEAD")
    if revision is None:
        return None
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"revision": revision, "changed": None if status is None else bool(status)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _package_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
