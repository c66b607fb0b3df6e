"""The hosts of a placement, connected: what a testbed on several hosts is built from."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import MachineError
from harness.provision.connections.local import LocalConnection
from harness.provision.tunnel import OVERHEAD_BYTES
from harness.provision.underlay import underlay_route
from harness.remote.errors import HostUnusable
from harness.remote.hosts import Host, load_hosts
from harness.remote.session import RemoteHost
from harness.remote.site import RemoteSite
from harness.testbed.placement import Placement, Underlay


@dataclass(frozen=True)
class Spread:
    """A placement with addresses, its other hosts, and the largest inner packet that every tunnel carries."""

    placement: Placement
    sites: Sequence[RemoteSite]
    mtu_bytes: int
    agents: Mapping[str, RemoteHost] = field(default_factory=dict)
    """By host, for what else is to be done there."""


@contextmanager
def connected(nodes: Mapping[str, str], inventory: Path, say: Callable[[str], None]) -> Iterator[Spread]:
    """Reach the hosts of `nodes` (node -> host) side by side; all of them are left with the block, and undo what is
    still there then.

    UsageError for a host the inventory does not know, HostUnusable and MachineError for one that cannot be used.
    """
    hosts = load_hosts(inventory)
    chosen = [hosts[name] for name in dict.fromkeys(nodes.values())]
    with ExitStack() as stack:
        agents: dict[str, RemoteHost] = {}

        def open_one(host: Host) -> RemoteSite:
            remote = agents[host.name] = RemoteHost.open(hosts, host)
            stack.callback(remote.close)
            site = RemoteSite(remote)
            site.require_testbed()
            site.ensure_warm(say)
            return site

        with ThreadPoolExecutor(len(chosen), thread_name_prefix="connect") as executor:
            opened = [executor.submit(open_one, host) for host in chosen]
            try:
                sites = [one.result() for one in opened]
            except BaseException:
                for agent in list(agents.values()):
                    agent.close()  # nobody is waited for, who may compile for minutes
                raise
        underlay, mtu_bytes = {}, []
        for host, site in zip(chosen, sites, strict=True):
            underlay[host.name], host_mtu_bytes = _underlay(host, site)
            mtu_bytes.append(host_mtu_bytes)
        yield Spread(Placement(dict(nodes), underlay), sites, min(mtu_bytes), agents)


def _underlay(host: Host, site: RemoteSite) -> tuple[Underlay, int]:
    """Addresses of the way to a host, and the largest inner packet that fits it in both directions."""
    if not site.facts.features.vxlan:
        raise MachineError(f"host {host.title}: its kernel {site.facts.kernel_release} has no VXLAN (module vxlan)")
    there = _ipv4(host)
    connection = LocalConnection()
    try:
        route = underlay_route(connection, there)
    finally:
        connection.close()
    back_bytes = site.underlay_mtu_bytes(route.local)
    return Underlay(there, route.local), min(route.mtu_bytes, back_bytes) - OVERHEAD_BYTES


def _ipv4(host: Host) -> str:
    name = host.fabric_address or host.address
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as error:
        raise HostUnusable(f"host {host.title}: {name}: no IPv4 address ({error.strerror})") from None
    return str(found[0][4][0])
