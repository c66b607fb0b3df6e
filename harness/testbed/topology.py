"""The testbed as a pure description: nodes, links, addresses. Nothing here touches the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.errors import ProfileError
from harness.provision.run_id import check_run_id
from harness.provision.tunnel import Tunnel, derived_vni
from harness.testbed.conditions import DIRECTIONS, UNIMPEDED, Direction, LaterConditions, LinkConditions
from harness.testbed.placement import HERE, LOCALHOST, Placement

LOADGEN, ECHOSERVER, FABRIC, SOURCE, DESTINATION = "loadgen", "echoserver", "fabric", "source", "destination"
NODES = (LOADGEN, ECHOSERVER, FABRIC, SOURCE, DESTINATION)
INSTANCES = (SOURCE, DESTINATION)
LINKED_NODES = (LOADGEN, ECHOSERVER, SOURCE, DESTINATION)
"""Nodes with a link to the fabric."""
CONTROLLER = "controller"
"""Where the controller speaks to the instances from: the fabric's namespace, or one of its own with a link to the
fabric, where the fabric is on another host."""
LATENCY_BACKENDS = ("auto", "netem", "latency_generator", "delay_line", "none")
RECEIVE_ORDERS = ("link", "flow", "cpu")

BRIDGE = "br0"
UPLINK = "up0"
MANAGEMENT_LINK = "mgmt0"
MANAGEMENT_PEER = "mgmt0p"
INNER_LINK = "inner0"
INNER_PEER = "inner0p"
"""Of a node whose whole link crosses the latency generator: its ports and addresses are on the first, the generator
stands between the second and the uplink."""

CONTROLLER_MAC = "02:00:00:00:02:01"
BRIDGE_MAC = "02:00:00:00:03:00"
"""Of a bridge that is not the controller's own."""
VNF_INTERIOR_MAC = "02:00:00:00:01:00"
VNF_EXTERIOR_MAC = "02:00:00:00:01:01"
VNF_MACS = (VNF_INTERIOR_MAC, VNF_EXTERIOR_MAC)
NODE_MACS = {
    LOADGEN: "02:00:00:00:00:01",
    ECHOSERVER: "02:00:00:00:00:02",
    SOURCE: "02:00:00:00:02:0b",
    DESTINATION: "02:00:00:00:02:0c",
}
# An uplink has a MAC of its own when the node's sits behind a latency process, and so has what is between them.
UPLINK_MACS = {
    LOADGEN: "02:00:00:00:04:01",
    ECHOSERVER: "02:00:00:00:04:02",
    SOURCE: "02:00:00:00:04:0b",
    DESTINATION: "02:00:00:00:04:0c",
}
PEER_MACS = {
    LOADGEN: "02:00:00:00:05:01",
    ECHOSERVER: "02:00:00:00:05:02",
    SOURCE: "02:00:00:00:05:0b",
    DESTINATION: "02:00:00:00:05:0c",
}
PORT_MACS = {
    LOADGEN: "02:00:00:00:03:01",
    ECHOSERVER: "02:00:00:00:03:02",
    SOURCE: "02:00:00:00:03:0b",
    DESTINATION: "02:00:00:00:03:0c",
    CONTROLLER: "02:00:00:00:03:0a",
}
MANAGEMENT_ADDRESSES = {CONTROLLER: "192.0.2.1", SOURCE: "192.0.2.11", DESTINATION: "192.0.2.12"}
MANAGEMENT_MACS = {CONTROLLER: CONTROLLER_MAC, SOURCE: NODE_MACS[SOURCE], DESTINATION: NODE_MACS[DESTINATION]}
MANAGEMENT_PREFIX_LENGTH = 24
VNF_ADDRESSES = {LOADGEN: "10.1.0.1", ECHOSERVER: "198.18.0.1"}
"""Of the VNF, as the node at that end of it sees it."""
STACK_ADDRESSES = {LOADGEN: "10.1.2.1", ECHOSERVER: "198.18.2.1"}
"""Of the kernel's own stack at either end, where programs talk through the VNF."""
STACK_PREFIX_LENGTH = 16

_BURST_NS = 20_000_000
_MIN_RATE_BPS, _MAX_RATE_BPS = 1_000_000, 34_000_000_000


@dataclass(frozen=True)
class UplinkSpec:
    """An instance's uplink: a meter of `rate_bps` (None: no meter) and `latency_ns`, both for each direction.

    The meter polices: what does not fit its bucket of `burst_bytes` (default: rate x 20 ms) waits in a queue of at most
    `queue_limit_bytes`, and the rest is dropped.
    """

    rate_bps: int | None = 1_000_000_000
    burst_bytes: int | None = None
    queue_limit_bytes: int = 65536
    latency_ns: int = 2_500_000

    @property
    def bucket_bytes(self) -> int:
        """Size of the meter's bucket."""
        if self.burst_bytes is not None:
            return self.burst_bytes
        return 0 if self.rate_bps is None else self.rate_bps * _BURST_NS // 8_000_000_000

    @property
    def conditions(self) -> LinkConditions:
        """The same for one direction of a link. ProfileError where that is impossible."""
        burst_ns = _BURST_NS if not self.rate_bps else -(-self.bucket_bytes * 8_000_000_000 // self.rate_bps)
        return LinkConditions(self.rate_bps, burst_ns, self.queue_limit_bytes, self.latency_ns)


@dataclass(frozen=True)
class Topology:
    """The five nodes of a run. Raises ProfileError for a description that cannot work.

    `gso_max_size_bytes` bounds the frames the kernel's TCP hands to a link in one piece: a frame larger than the
    meter's queue limit could never wait in it and would always be dropped, so it has to be smaller.
    `receive_order` is what the links keep in order. A veth end queues frames on the CPU that sent them, so a sender
    that the scheduler moves overtakes itself ("cpu"); "flow" keeps every flow on one CPU, "link" all frames of a link
    (net.core.rps_default_mask, Linux 6.3; before it, every link behaves as "cpu").
    `links` has the conditions of single directions of links, by (node, direction); the other links of the instances are
    as `uplink` says, those of load generator and echoserver neither metered nor delayed. `later`: what they will be
    changed to while a run goes on, so that what carries a change out is there from the start. `flapping`: nodes whose
    link will go down.
    `kernel_stacks`: programs at both ends talk through the VNF by the kernel's stack (STACK_ADDRESSES).
    `placement`: the hosts of the nodes. Where the fabric is on another than the harness's own, there is a sixth node,
    the controller's.
    """

    run_id: str
    uplink: UplinkSpec = field(default_factory=UplinkSpec)
    latency_backend: str = "auto"
    gso_max_size_bytes: int = 16384
    congestion_control: str = "cubic"
    mtu_bytes: int = 1500
    receive_order: str = "flow"
    kernel_stacks: bool = False
    links: Mapping[tuple[str, Direction], LinkConditions] = field(default_factory=dict, hash=False)
    later: tuple[LaterConditions, ...] = ()
    flapping: frozenset[str] = frozenset()
    placement: Placement = field(default=HERE, hash=False)

    def __post_init__(self) -> None:
        check_run_id(self.run_id)
        uplink = self.uplink
        if self.latency_backend not in LATENCY_BACKENDS:
            known = ", ".join(LATENCY_BACKENDS)
            raise ProfileError(f"latency backend {self.latency_backend!r}: unknown; it is one of {known}")
        if self.receive_order not in RECEIVE_ORDERS:
            known = ", ".join(RECEIVE_ORDERS)
            raise ProfileError(f"receive order {self.receive_order!r}: unknown; it is one of {known}")
        if uplink.rate_bps is not None and not _MIN_RATE_BPS <= uplink.rate_bps <= _MAX_RATE_BPS:
            raise ProfileError(f"uplink rate {uplink.rate_bps} bit/s: must be between 1 Mbit/s and 34 Gbit/s")
        if uplink.latency_ns < 0:
            raise ProfileError(f"uplink latency {uplink.latency_ns} ns: must not be negative")
        if self.gso_max_size_bytes < self.mtu_bytes + 14:
            raise ProfileError(f"gso_max_size {self.gso_max_size_bytes} bytes: must hold at least one frame of the MTU")
        links = set(self.links) | {(item.node, item.direction) for item in self.later}
        if unknown := sorted(links - {(node, way) for node in LINKED_NODES for way in DIRECTIONS}):
            raise ProfileError(f"link {'.'.join(unknown[0])}: unknown; nodes are {', '.join(LINKED_NODES)}")
        self._check_placement()
        self._check_meter("uplink", uplink.conditions)
        for (node, way), conditions in self.links.items():
            self._check_meter(f"links.{node}.{way}:", conditions)
        for item in self.later:
            self._check_meter(f"{item.path}:", item.conditions)

    def _check_placement(self) -> None:
        placement = self.placement
        if unknown_nodes := sorted(set(placement.hosts) - set(NODES)):
            raise ProfileError(f"placement.{unknown_nodes[0]}: unknown; nodes are {', '.join(NODES)}")
        for host in dict.fromkeys(placement.host_of(node) for node in self.nodes):
            if host != placement.host_of(FABRIC) and host not in placement.underlay:
                raise ProfileError(f"placement: host {host!r}: no address in the network between the hosts is known")

    def _check_meter(self, where: str, conditions: LinkConditions) -> None:
        if conditions.rate_bps is None:
            return
        if self.gso_max_size_bytes >= conditions.queue_limit_bytes:
            raise ProfileError(
                f"{where} queue limit {conditions.queue_limit_bytes} bytes: must be larger than gso_max_size "
                f"({self.gso_max_size_bytes} bytes), or the meter drops every full TCP frame"
            )
        if conditions.bucket_bytes < self.mtu_bytes + 14:
            raise ProfileError(
                f"{where} burst {conditions.bucket_bytes} bytes: must hold at least one frame of the MTU"
            )

    def netns(self, node: str) -> str:
        """Namespace of a node."""
        return f"{self.run_id}-{node}"

    @property
    def is_controller_apart(self) -> bool:
        """Whether the controller is on another host than the fabric."""
        return self.placement.host_of(FABRIC) != LOCALHOST

    @property
    def controller(self) -> str:
        """Node with the controller's management address."""
        return CONTROLLER if self.is_controller_apart else FABRIC

    @property
    def nodes(self) -> tuple[str, ...]:
        """All that have a namespace."""
        return (*NODES, CONTROLLER) if self.is_controller_apart else NODES

    @property
    def link_macs(self) -> Mapping[str, str]:
        """Nodes with a link to the fabric, and the MAC that frames for each have."""
        return {**NODE_MACS, CONTROLLER: CONTROLLER_MAC} if self.is_controller_apart else NODE_MACS

    def nodes_on(self, host: str) -> tuple[str, ...]:
        """Nodes of a host."""
        return tuple(node for node in self.nodes if self.placement.host_of(node) == host)

    def tunnels(self, node: str) -> tuple[Tunnel, Tunnel] | None:
        """The ends of the tunnel that is a node's link, at the fabric and at the node; None for a node of the fabric's
        host."""
        underlay = self.placement.underlay.get(self.placement.host_of(node))
        if underlay is None or node not in self.link_macs:
            return None
        vni = derived_vni(self.run_id, list(self.link_macs).index(node))
        return Tunnel(vni, underlay.fabric, underlay.there), Tunnel(vni, underlay.there, underlay.fabric)

    @property
    def conditions(self) -> Mapping[tuple[str, Direction], LinkConditions]:
        """What each direction of each link does to frames at the start of a run."""
        default = {
            **dict.fromkeys(LINKED_NODES, UNIMPEDED),
            **dict.fromkeys(INSTANCES, self.uplink.conditions),
        }
        return {(node, way): self.links.get((node, way), default[node]) for node in LINKED_NODES for way in DIRECTIONS}

    @property
    def asks_for_impairments(self) -> bool:
        """Whether any link has, or will have, IPDV, loss, duplication, reordering or corruption."""
        return any(conditions.is_impaired for ever in self.ever.values() for conditions in ever)

    @property
    def ever(self) -> Mapping[tuple[str, Direction], tuple[LinkConditions, ...]]:
        """All that each direction of each link is in the course of a run, what it is at the start first."""
        later: dict[tuple[str, Direction], tuple[LinkConditions, ...]] = {}
        for item in self.later:
            key = (item.node, item.direction)
            later[key] = (*later.get(key, ()), item.conditions)
        return {key: (conditions, *later.get(key, ())) for key, conditions in self.conditions.items()}
