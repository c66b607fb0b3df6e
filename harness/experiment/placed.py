"""The testbed of an experiment on its hosts: described for the addresses and the packet sizes between them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.errors import MachineError, UsageError
from harness.options import RunOptions
from harness.profile.derived import frame_mix
from harness.profile.model import Profile
from harness.profile.topology import make_topology
from harness.provision import unprivileged
from harness.testbed.topology import Topology

if TYPE_CHECKING:
    from harness.remote.spread import Spread

ETHERNET_BYTES = 14
WHY_NOT_CALIBRATED = "nodes are on several hosts, its probes on one"


def require_root() -> None:
    """MachineError where this process cannot have nodes on other hosts, however its profile is."""
    if os.geteuid() != 0 or unprivileged.is_rootless():
        raise MachineError("placement: nodes on other hosts need root here: namespaces of a user have no way to them")


def require_one_piece(options: RunOptions) -> None:
    """MachineError or UsageError where this command cannot have nodes on other hosts."""
    require_root()
    if options.keep:
        raise UsageError("--keep: nodes on other hosts end with the command; leave out --keep or the placement")


def placed_topology(profile: Profile, run_id: str, spread: Spread | None) -> Topology:
    """The topology of a profile on the hosts of `spread` (None: all on this one).

    Where the network between the hosts takes smaller packets than a tunnel of the usual MTU needs, the testbed's MTU is
    lowered if every frame of the load still fits. MachineError with the figures where one does not.
    """
    if spread is None:
        return make_topology(profile, run_id)
    topology = make_topology(profile, run_id, spread.placement)
    if spread.mtu_bytes >= topology.mtu_bytes:
        return topology
    largest_bytes = max(size for size, _ in frame_mix(profile)) - ETHERNET_BYTES
    if largest_bytes > spread.mtu_bytes:
        raise MachineError(
            f"the network between the hosts leaves packets of {spread.mtu_bytes} bytes in the tunnels, and the load "
            f"has packets of {largest_bytes} bytes: raise the MTU between the hosts by "
            f"{largest_bytes - spread.mtu_bytes} bytes, or lower load.frame"
        )
    return replace(topology, mtu_bytes=spread.mtu_bytes)
