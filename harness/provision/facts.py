"""What a host can do, found out by trying where asking is not enough."""

from __future__ import annotations

import errno
import functools
import os
import platform
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, MachineError
from harness.provision import messages, unprivileged
from harness.provision.capabilities import (
    CAP_NET_ADMIN,
    CAP_NET_RAW,
    CAP_SYS_ADMIN,
    CAP_SYS_NICE,
    held_capabilities,
)
from harness.provision.connections.local import in_throwaway_namespace
from harness.provision.netem import netem_replace, netem_state
from harness.provision.netlink import NETLINK_ROUTE, NetlinkError, Request, RouteSocket

_MASK_CPUS = 32
_ALLOWED = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
_PROBE_LINK = "probe0"


@dataclass(frozen=True)
class KernelFeatures:
    """What the kernel offers; None where it could not be tried for lack of privileges."""

    namespaces: bool | None = None
    veth: bool | None = None
    bridge: bool | None = None
    tbf: bool | None = None
    netem: bool | None = None
    vxlan: bool | None = None


@dataclass(frozen=True)
class Facts:
    """A host as it was found. `steal_fraction` is the share of CPU time since boot the hypervisor kept for others."""

    kernel_release: str
    machine: str
    cpus: int
    cap_net_admin: bool
    cap_net_raw: bool
    cap_sys_admin: bool
    cap_sys_nice: bool
    rmem_max_bytes: int
    wmem_max_bytes: int
    clock_source: str
    steal_fraction: float
    congestion_controls: tuple[str, ...]
    allowed_congestion_controls: tuple[str, ...]
    features: KernelFeatures
    cpu_mask: int = 1  # bit n: CPU n may be used; the first 32 only
    fixes_congestion_controls: bool = (
        False  # what is allowed to everybody cannot be changed from this network namespace
    )
    rootless: bool = False  # in the user namespace of an ordinary user: capabilities hold for what was made in it
    rootless_refusal: str = ""  # why that namespace could not be entered

    def missing_privileges(self) -> tuple[str, ...]:
        """Names of the capabilities without which the testbed cannot be built."""
        needed = {
            "CAP_NET_ADMIN": self.cap_net_admin,
            "CAP_NET_RAW": self.cap_net_raw,
            "CAP_SYS_ADMIN": self.cap_sys_admin,
        }
        return tuple(name for name, held in needed.items() if not held)

    def require_testbed(self) -> None:
        """MachineError naming everything this host lacks for the testbed; nothing when it has it all."""
        missing = self.missing_privileges()
        if missing:
            otherwise = f"; without root, {self.rootless_refusal}" if self.rootless_refusal else ""
            raise MachineError(f"this process lacks {', '.join(missing)}: run as root{otherwise}")
        wanted = {
            "network namespaces": self.features.namespaces,
            "veth links": self.features.veth,
            "bridges": self.features.bridge,
            "the tbf queueing discipline": self.features.tbf,
        }
        absent = [name for name, there in wanted.items() if not there]
        if absent:
            raise MachineError(f"the kernel {self.kernel_release} lacks {', '.join(absent)}")


def _read(path: str, default: str = "") -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return default


def _is_read_only(path: str) -> bool:
    """Whether the kernel lets nobody write a parameter here: some are the machine's, whatever namespace one is in."""
    try:
        return not Path(path).stat().st_mode & 0o222
    except OSError:
        return False


def steal_fraction(stat_text: str) -> float:
    """Share of stolen time in the first line of /proc/stat (proc(5)), 0.0 when it cannot be told."""
    first = stat_text.splitlines()[0].split() if stat_text else []
    ticks = [int(word) for word in first[1:9]]
    if len(ticks) < 8 or sum(ticks) == 0:
        return 0.0
    return ticks[7] / sum(ticks)


def _works(attempt: Callable[[], object]) -> bool:
    """Whether the kernel accepts the attempt; errors that do not mean "unknown here" are raised."""
    try:
        attempt()
    except NetlinkError as error:
        if error.number in (errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM):
            return False
        raise
    return True


def _probe() -> KernelFeatures:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE) as raw:
        route = RouteSocket(raw)

        def ask(*requests: Request) -> Callable[[], object]:
            return lambda: route.transact(requests)

        bridge = _works(ask(messages.bridge_create("probe1", [], multicast_snooping=False)))
        veth = _works(ask(messages.veth_create(_PROBE_LINK, "probe2", None, [], [])))
        # Queueing disciplines are tried on the loopback, which every namespace has.
        root = messages.TC_H_ROOT
        tbf_options = messages.tbf_options(1_000_000_000, 2_500_000, 65536)
        tbf = _works(ask(messages.qdisc_replace(1, "tbf", root, 0x10000, tbf_options)))
        netem = _works(ask(netem_replace(1, root, 0x20000, netem_state(2_500_000, limit_packets=1000))))
        vxlan = _works(ask(messages.vxlan_create("probe3", None, [], [("IFLA_VXLAN_ID", 1)])))
        return KernelFeatures(namespaces=True, veth=veth, bridge=bridge, tbf=tbf, netem=netem, vxlan=vxlan)


@functools.cache
def kernel_features() -> KernelFeatures:
    """What the kernel offers, tried once per process in a nameless namespace that is gone afterwards."""
    try:
        return in_throwaway_namespace(_probe)
    except PermissionError:
        return KernelFeatures()
    except (OSError, HarnessError):
        return KernelFeatures(namespaces=False)


def gather_facts() -> Facts:
    """Facts about this host."""
    capabilities = held_capabilities()

    def holds(number: int) -> bool:
        return bool(capabilities >> number & 1)

    return Facts(
        kernel_release=platform.release(),
        machine=platform.machine(),
        cpus=len(os.sched_getaffinity(0)),
        cap_net_admin=holds(CAP_NET_ADMIN),
        cap_net_raw=holds(CAP_NET_RAW),
        cap_sys_admin=holds(CAP_SYS_ADMIN),
        cap_sys_nice=holds(CAP_SYS_NICE),
        rmem_max_bytes=int(_read("/proc/sys/net/core/rmem_max", "0")),
        wmem_max_bytes=int(_read("/proc/sys/net/core/wmem_max", "0")),
        clock_source=_read("/sys/devices/system/clocksource/clocksource0/current_clocksource", "unknown"),
        steal_fraction=steal_fraction(_read("/proc/stat")),
        congestion_controls=tuple(_read("/proc/sys/net/ipv4/tcp_available_congestion_control").split()),
        allowed_congestion_controls=tuple(_read(_ALLOWED).split()),
        features=kernel_features(),
        cpu_mask=sum(1 << cpu for cpu in os.sched_getaffinity(0) if cpu < _MASK_CPUS) or 1,
        fixes_congestion_controls=_is_read_only(_ALLOWED),
        rootless=unprivileged.is_rootless(),
        rootless_refusal=unprivileged.refusal(),
    )
