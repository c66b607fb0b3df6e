"""From the description of the testbed to the tasks that build it. Pure: nothing is changed, the facts are given."""

from __future__ import annotations

from dataclasses import replace

from harness.errors import MachineError
from harness.provision.facts import Facts
from harness.provision.task import Task
from harness.provision.tasks.address import Addresses
from harness.provision.tasks.bridge import Bridge, BridgePorts
from harness.provision.tasks.fdb import ForwardingEntries
from harness.provision.tasks.link import LinkEnd, LinkSettings, VethPair
from harness.provision.tasks.neighbour import Neighbours
from harness.provision.tasks.netns import NetworkNamespace
from harness.provision.tasks.offloads import OffloadsOff
from harness.provision.tasks.qdisc import Netem, Qdiscs, Tbf
from harness.provision.tasks.route import DefaultRoute
from harness.provision.tasks.sysctl import SysctlMember, Sysctls
from harness.provision.tasks.vxlan import VxlanLink
from harness.testbed import topology as names
from harness.testbed.attachment import generator_nodes, inner_links, management_link, port_link
from harness.testbed.backend import Shape, resolve_backend, shape_of
from harness.testbed.conditions import MAX_RATE_BPS, Direction, LinkConditions
from harness.testbed.placement import LOCALHOST
from harness.testbed.topology import Topology

RENO = "reno"
ANY_HOST = "localhost"
"""Node of a task that belongs to every host of a testbed."""
_QUIET_PORT = {"learning": False, "flood": False, "mcast_flood": False, "isolated": False}
_SYSCTLS = {
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv6.conf.default.disable_ipv6": "1",
    "net.ipv4.ip_forward": "0",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
}
# br_netfilter, where loaded, sends bridged frames through the IP tables: slower, and lossy with connection tracking.
_FABRIC_SYSCTLS = {f"net.bridge.bridge-nf-call-{table}": "0" for table in ("iptables", "ip6tables", "arptables")}

# Or the kernel would answer on the uplink for addresses that are behind the latency generator.
_GENERATOR_SYSCTLS = {"net.ipv4.conf.all.arp_ignore": "1"}


def usable_congestion_control(wanted: str, facts: Facts) -> str:
    """What TCP between the instances will use: `wanted`, unless the machine does not allow it to everybody and this
    process may not change that (a user's namespace, a container's). RENO is always allowed.
    """
    may_change = not (facts.rootless or facts.fixes_congestion_controls)
    return wanted if may_change or wanted in facts.allowed_congestion_controls else RENO


def tasks_for(topology: Topology, facts: Facts, host: str = LOCALHOST) -> list[Task]:
    """All tasks that build a host's part of the testbed, in order. facts: of that host. MachineError when it cannot do
    what the topology asks for.
    """
    here = {ANY_HOST, *topology.nodes_on(host)}
    return [task for task in _all_tasks(topology, facts) if task.node in here]


def _all_tasks(topology: Topology, facts: Facts) -> list[Task]:
    backend = resolve_backend(topology, facts).name
    if topology.congestion_control not in facts.congestion_controls:
        known = ", ".join(facts.congestion_controls)
        raise MachineError(f"TCP congestion control {topology.congestion_control!r}: not available; there are {known}")
    topology = replace(topology, congestion_control=usable_congestion_control(topology.congestion_control, facts))
    return [
        *_host_parameters(topology),
        *_namespaces(topology, facts, backend),
        _bridge(topology),
        *_links(topology, backend),
        *_forwarding(topology),
        *_management(topology, backend),
        *_meters(topology, backend),
        *_kernel_stacks(topology, backend),
    ]


def _host_parameters(topology: Topology) -> list[Task]:
    """A namespace may only be given a congestion control that the host allows to everybody (tcp(7))."""
    return [SysctlMember(ANY_HOST, "net.ipv4.tcp_allowed_congestion_control", topology.congestion_control)]


def receive_mask(receive_order: str, cpu_mask: int, node: str = names.FABRIC) -> str:
    """CPUs that may receive for the links of a node, in hex: one of `cpu_mask`, all of it, or none for "wherever it was
    sent".

    To keep flows in order, an instance keeps the order of its whole uplink: a drain frame is a flow of its own, and
    received on another CPU it would overtake what was on the path before it. Each instance has a CPU of its own.
    """
    if receive_order == "cpu":
        return "0"
    if node == names.DESTINATION:
        return f"{1 << (cpu_mask.bit_length() - 1):x}"
    return f"{cpu_mask & -cpu_mask if receive_order == 'link' or node == names.SOURCE else cpu_mask:x}"


def _namespaces(topology: Topology, facts: Facts, backend: str) -> list[Task]:
    created: list[Task] = [NetworkNamespace(node, topology.netns(node)) for node in topology.nodes]
    parameters: list[Task] = []
    for node in topology.nodes:
        values = {**_SYSCTLS, "net.core.rps_default_mask": receive_mask(topology.receive_order, facts.cpu_mask, node)}
        if node in (topology.controller, *names.INSTANCES):
            values["net.ipv4.tcp_congestion_control"] = topology.congestion_control
        if node == names.FABRIC:
            values.update(_FABRIC_SYSCTLS)
        if node in generator_nodes(topology, backend):
            values.update(_GENERATOR_SYSCTLS)
        parameters.append(Sysctls(node, topology.netns(node), values, container=topology.netns(node)))
    loopbacks: list[Task] = [
        LinkSettings(node, topology.netns(node), "lo", container=topology.netns(node)) for node in topology.nodes
    ]
    return created + parameters + loopbacks


def _bridge(topology: Topology) -> Task:
    fabric = topology.netns(names.FABRIC)
    mac = names.BRIDGE_MAC if topology.is_controller_apart else names.CONTROLLER_MAC
    end = LinkEnd(fabric, names.BRIDGE, mac, topology.mtu_bytes, topology.gso_max_size_bytes)
    return Bridge(names.FABRIC, end, container=fabric)


def _links(topology: Topology, backend: str) -> list[Task]:
    fabric = topology.netns(names.FABRIC)
    mtu, gso = topology.mtu_bytes, topology.gso_max_size_bytes
    tasks: list[Task] = []
    inner = inner_links(topology, backend)
    for node, mac in topology.link_macs.items():
        netns = topology.netns(node)
        port = LinkEnd(fabric, node, names.PORT_MACS[node], mtu, gso, master=names.BRIDGE)
        uplink = LinkEnd(netns, names.UPLINK, names.UPLINK_MACS[node] if node in inner else mac, mtu, gso)
        tunnels = topology.tunnels(node)
        if tunnels is None:
            tasks.append(VethPair(node, port, uplink, container=netns))
        else:
            tasks.append(VxlanLink(names.FABRIC, port, tunnels[0], container=fabric))
            tasks.append(VxlanLink(node, uplink, tunnels[1], container=netns))
    for node, (link, peer_link) in inner.items():
        netns = topology.netns(node)
        end = LinkEnd(netns, link, names.NODE_MACS[node], mtu, gso)
        peer = LinkEnd(netns, peer_link, names.PEER_MACS[node], mtu, gso)
        tasks.append(VethPair(node, end, peer, container=netns))
    return tasks


def _forwarding(topology: Topology) -> list[Task]:
    """Static forwarding; the VNF addresses belong to the source at first, and broadcasts reach neither the destination
    nor the controller.
    """
    fabric = topology.netns(names.FABRIC)
    silent = (names.DESTINATION, names.CONTROLLER)
    ports = {node: {**_QUIET_PORT, "bcast_flood": node not in silent} for node in topology.link_macs}
    entries = {mac: node for node, mac in topology.link_macs.items()}
    entries.update(dict.fromkeys(names.VNF_MACS, names.SOURCE))
    return [
        BridgePorts(names.FABRIC, fabric, ports, container=fabric),
        ForwardingEntries(names.FABRIC, fabric, entries, container=fabric),
    ]


def _management(topology: Topology, backend: str) -> list[Task]:
    own_link = names.UPLINK if topology.is_controller_apart else names.BRIDGE
    ends = {names.CONTROLLER: (topology.controller, own_link)}
    ends.update({node: (node, management_link(backend)) for node in names.INSTANCES})
    addresses: list[Task] = []
    neighbours: list[Task] = []
    for end, (node, link) in ends.items():
        netns = topology.netns(node)
        address = f"{names.MANAGEMENT_ADDRESSES[end]}/{names.MANAGEMENT_PREFIX_LENGTH}"
        addresses.append(Addresses(node, netns, link, address, container=netns))
        others = {names.MANAGEMENT_ADDRESSES[other]: names.MANAGEMENT_MACS[other] for other in ends if other != end}
        neighbours.append(Neighbours(node, netns, link, others, container=netns))
    return addresses + neighbours


def link_chain(conditions: LinkConditions, shape: Shape) -> list[Tbf | Netem]:
    """Queueing disciplines of one direction of a link.

    netem goes first with tbf behind it: the other way round netem's large queue would replace the meter's short one.
    """
    chain: list[Tbf | Netem] = []
    if shape.delays:
        chain.append(
            Netem(
                conditions.latency_ns,
                ipdv_ns=conditions.ipdv_ns,
                distribution=conditions.ipdv_distribution if shape.names_distribution else None,
                loss=conditions.loss,
                duplication=conditions.duplication,
                reordering=conditions.reordering,
                corruption=conditions.corruption,
            )
        )
    if shape.meters:
        # Where a meter comes and goes, "none" is one that never binds.
        rate_bps = MAX_RATE_BPS if conditions.rate_bps is None else conditions.rate_bps
        bucket_bytes = replace(conditions, rate_bps=rate_bps).bucket_bytes
        chain.append(Tbf(rate_bps, bucket_bytes, conditions.queue_limit_bytes))
    return chain


def link_task(topology: Topology, backend: str, node: str, way: Direction, conditions: LinkConditions) -> Qdiscs:
    """What puts one direction of a link under those conditions, as far as queueing disciplines make them: "up" leaves
    from the node, "down" from the fabric's port.
    """
    chain = link_chain(conditions, shape_of(topology, backend, node, way))
    if way == "up":
        netns = topology.netns(node)
        return Qdiscs(node, netns, names.UPLINK, chain, container=netns)
    fabric = topology.netns(names.FABRIC)
    return Qdiscs(names.FABRIC, fabric, node, chain, container=fabric)


def _meters(topology: Topology, backend: str) -> list[Task]:
    tasks = [
        link_task(topology, backend, node, way, topology.conditions[node, way])
        for node in (*names.INSTANCES, names.LOADGEN, names.ECHOSERVER)
        for way in ("down", "up")
    ]
    return [task for task in tasks if task.chain]


def _kernel_stacks(topology: Topology, backend: str) -> list[Task]:
    """Addresses for the kernel at both ends, its way through the VNF, and frames that a packet socket can pass on."""
    if not topology.kernel_stacks:
        return []
    tasks: list[Task] = []
    for node, address in names.STACK_ADDRESSES.items():
        netns, link = topology.netns(node), port_link(topology, backend, node)
        tasks.append(OffloadsOff(node, netns, link, container=netns))
        tasks.append(Addresses(node, netns, link, f"{address}/{names.STACK_PREFIX_LENGTH}", container=netns))
    loadgen, link = topology.netns(names.LOADGEN), port_link(topology, backend, names.LOADGEN)
    gateway = names.VNF_ADDRESSES[names.LOADGEN]
    return [*tasks, DefaultRoute(names.LOADGEN, loadgen, link, gateway, container=loadgen)]
