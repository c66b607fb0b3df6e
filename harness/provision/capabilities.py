"""The capabilities (capabilities(7)) of this process, and those that a testbed needs."""

from __future__ import annotations

from pathlib import Path

CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, CAP_SYS_NICE = 10, 12, 13, 21, 23
_NEEDED = {"CAP_NET_ADMIN": CAP_NET_ADMIN, "CAP_NET_RAW": CAP_NET_RAW, "CAP_SYS_ADMIN": CAP_SYS_ADMIN}


def effective_capabilities(status_text: str) -> int:
    """The effective capability set of /proc/<pid>/status as a bit set; 0 when the text has none."""
    for line in status_text.splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def held_capabilities() -> int:
    """The effective set of this process."""
    try:
        return effective_capabilities(Path("/proc/self/status").read_text())
    except OSError:
        return 0


def missing_privileges(held: int) -> tuple[str, ...]:
    """Names of the capabilities without which the testbed cannot be built, of those that are not in `held`."""
    return tuple(name for name, number in _NEEDED.items() if not held >> number & 1)
