"""[placement]: the hosts of the nodes, and what a testbed spread over hosts cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from harness.profile.table import Table
from harness.testbed import topology as names
from harness.testbed.placement import LOCALHOST

if TYPE_CHECKING:
    from harness.profile.model import Profile

INVENTORY = "hosts.toml"


_FAULTS_HERE_ONLY = {
    "disk": "each host has its own",
    "latency": "each host with an instance has a process that delays",
}


def _host(value: str) -> str:
    if not value or len(value) > 64 or not value.isprintable() or value.split() != [value]:
        raise ValueError(f"{value!r:.80} must be the name of a host of the inventory")
    return value


Host = Annotated[str, AfterValidator(_host)]


class PlacementTable(Table):
    """[placement]; "localhost" is the host the harness runs on, every other name is one of the inventory."""

    loadgen: Host = Field(default=LOCALHOST, description="Host of the load generator.")
    echoserver: Host = Field(default=LOCALHOST, description="Host of the echoserver.")
    fabric: Host = Field(default=LOCALHOST, description="Host of the fabric.")
    source: Host = Field(default=LOCALHOST, description="Host of the source.")
    destination: Host = Field(default=LOCALHOST, description="Host of the destination.")
    inventory: str = Field(
        default=INVENTORY,
        min_length=1,
        description="File of the hosts, from the profile's folder; --inventory overrides it.",
    )

    @property
    def hosts(self) -> dict[str, str]:
        """Hosts by node, of those that are not on LOCALHOST."""
        every = {node: getattr(self, node) for node in names.NODES}
        return {node: host for node, host in every.items() if host != LOCALHOST}


def placement_problems(profile: Profile) -> Iterator[tuple[str, str]]:
    """(path, message) of everything that does not work with nodes on several hosts."""
    hosts = profile.placement.hosts
    if not hosts:
        return
    node, host = next(iter(hosts.items()))
    spread = f"placement.{node} is on host {host!r}"
    for index, fault in enumerate(profile.fault):
        if why := _FAULTS_HERE_ONLY.get(fault.target):
            yield f"fault[{index}].target", f"{fault.target!r}: not while {spread}: {why}"
    if profile.uplink.latency_backend == "latency_generator":
        yield (
            "uplink.latency_backend",
            f"'latency_generator': not while {spread}: it is one process beside all links; use 'auto'",
        )
