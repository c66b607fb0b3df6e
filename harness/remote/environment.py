"""Our code on a host: a virtual environment in its cache, made once for each state of the code."""

from __future__ import annotations

import io
import json
import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.remote.errors import HostUnusable
from harness.remote.ssh import NOT_EXECUTABLE_STATUS, NOT_FOUND_STATUS, SshConnection
from harness.remote.wheel import code_digest, make_wheel, requirements

CACHE = "~/.cache/slim-harness/environments"
LOOK_S = 20.0
MAKE_S = 600.0
"""Installing the compiler from a registry takes minutes where the host has none of it."""
FREE_BYTES = 64 << 20
_BOOTSTRAP = Path(__file__).with_name("bootstrap.py")


@dataclass(frozen=True)
class Environment:
    """On the host: the interpreter of the environment, its folder, and whether it had to be made now."""

    python: str
    directory: str
    version: tuple[int, ...]
    made: bool


def ensure_environment(connection: SshConnection) -> Environment:
    """The environment with exactly the code that runs here. HostUnusable: no Python, a full disk, a registry that is
    needed and cannot be reached; ConnectionLost, DeadlineExceeded."""
    found = _bootstrap(connection, LOOK_S, "look", f"{CACHE}/{code_digest()}")
    try:
        directory, version = str(found["directory"]), tuple(int(part) for part in found["python"])
        complete, free_bytes = bool(found["complete"]), int(found["free_bytes"])
    except (KeyError, TypeError, ValueError):
        raise HostUnusable(f"host {connection.host.title}: {connection.host.python} answers nonsense") from None
    if not complete:
        if free_bytes < FREE_BYTES:
            raise HostUnusable(
                f"host {connection.host.title}: {free_bytes >> 20} MiB free for {directory}; "
                f"{FREE_BYTES >> 20} MiB are needed"
            )
        wheel = make_wheel()
        # Another controller may be at the same, for another host with this home. Installers insist on the file's name.
        folder = f"{directory}.{secrets.token_hex(4)}"
        target = f"{folder}.wheel/{wheel.file_name}"
        connection.put(io.BytesIO(wheel.content), folder, MAKE_S)
        quoted = (shlex.quote(f"{folder}.wheel"), shlex.quote(folder), shlex.quote(target))
        moved = connection.run("mkdir -m 700 {} && mv {} {}".format(*quoted), LOOK_S)
        if moved.status:
            raise HostUnusable(f"host {connection.host.title}: {target}: {moved.last_line}")
        _bootstrap(connection, MAKE_S, "make", directory, target, *requirements())
    return Environment(f"{directory}/bin/python", directory, version, not complete)


def _bootstrap(connection: SshConnection, deadline_s: float, *arguments: str) -> dict[str, Any]:
    host = connection.host
    command = " ".join([shlex.quote(host.python), "-", *map(shlex.quote, arguments)])
    done = connection.run(command, deadline_s, _BOOTSTRAP.read_bytes())
    if done.status in (NOT_FOUND_STATUS, NOT_EXECUTABLE_STATUS):
        raise HostUnusable(
            f"host {host.title}: no Python: {host.python}: {done.last_line}; set python in the inventory"
        )
    try:
        answer = json.loads(done.output)
    except ValueError:
        answer = None
    if done.status or not isinstance(answer, dict):
        raise HostUnusable(f"host {host.title}: {host.python} fails (exit status {done.status}): {done.last_line}")
    if "error" in answer:
        raise HostUnusable(f"host {host.title}: {_line(answer['error'])}")
    return answer


def _line(text: object) -> str:
    return "".join(c if c.isprintable() else " " for c in str(text))[:400]
