"""The hosts of a placement, connected: what a testbed on several hosts is built from."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.errors import MachineError
from harness.provision.connections.local import LocalConnection
from harness.provision.tunnel import OVERHEAD_BYTES
from harness.provision.underlay import UnderlayRoute, underlay_route
from harness.remote.errors import HostUnusable
from harness.remote.hosts import Host, load_hosts
from harness.remote.session import RemoteHost
from harness.remote.site import RemoteSite
from harness.testbed.placement import LOCALHOST, Placement, Underlay
from harness.testbed.topology import FABRIC


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
        placed = Placement(dict(nodes))
        ends: dict[str, _End] = {LOCALHOST: _Here()}
        ends.update({host.name: _There(host, site) for host, site in zip(chosen, sites, strict=True)})
        underlay, mtu_bytes = _underlay(ends, placed.host_of(FABRIC))
        yield Spread(Placement(dict(nodes), underlay), sites, mtu_bytes, agents)


class _End(Protocol):
    """A host as the network between the hosts sees it."""

    def route(self, remote: str) -> UnderlayRoute:
        """The way to an IPv4 address. MachineError where there is none."""

    def address(self, peer: _End) -> str:
        """Its own IPv4 address for a peer. HostUnusable, MachineError."""


class _Here:
    """The harness's own host. What it is called depends on who it speaks to."""

    def route(self, remote: str) -> UnderlayRoute:
        connection = LocalConnection()
        try:
            return underlay_route(connection, remote)
        finally:
            connection.close()

    def address(self, peer: _End) -> str:
        return self.route(peer.address(self)).local


class _There:
    """A host of the inventory."""

    def __init__(self, host: Host, site: RemoteSite) -> None:
        if not site.facts.features.vxlan:
            raise MachineError(f"host {host.title}: its kernel {site.facts.kernel_release} has no VXLAN (module vxlan)")
        self._site, self._address = site, _ipv4(host)

    def route(self, remote: str) -> UnderlayRoute:
        return self._site.underlay_route(remote)

    def address(self, peer: _End) -> str:
        return self._address


def _underlay(ends: Mapping[str, _End], fabric: str) -> tuple[dict[str, Underlay], int]:
    """Addresses of the way from each host to the fabric's, and the largest inner packet that fits all of them in both
    directions.
    """
    centre = ends[fabric]
    found, mtu_bytes = {}, []
    for name, end in ends.items():
        if name == fabric:
            continue
        addresses = Underlay(end.address(centre), centre.address(end))
        found[name] = addresses
        mtu_bytes += [end.route(addresses.fabric).mtu_bytes, centre.route(addresses.there).mtu_bytes]
    return found, min(mtu_bytes) - OVERHEAD_BYTES


def _ipv4(host: Host) -> str:
    name = host.fabric_address or host.address
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as error:
        raise HostUnusable(f"host {host.title}: {name}: no IPv4 address ({error.strerror})") from None
    return str(found[0][4][0])
