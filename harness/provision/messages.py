"""Route netlink requests as pure values: what to ask the kernel, without asking (rtnetlink(7), if_link.h,
pkt_sched.h).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg
from pyroute2.netlink.rtnl.tcmsg import tcmsg
from pyroute2.netlink.rtnl.tcmsg.common import tick_in_usec

from harness.provision.netlink import Request

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
RTM_GETSTATS = 94

_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_REPLACE, _EXCL, _CREATE = 0x100, 0x200, 0x400
_NESTED = 0x8000
_AF_BRIDGE = 7
_IFF_UP = 1

NUD_NOARP, NUD_PERMANENT = 0x40, 0x80
NTF_MASTER = 0x04
TC_H_ROOT = 0xFFFFFFFF

PORT_FLAGS = {
    "learning": "IFLA_BRPORT_LEARNING",
    "flood": "IFLA_BRPORT_UNICAST_FLOOD",
    "mcast_flood": "IFLA_BRPORT_MCAST_FLOOD",
    "bcast_flood": "IFLA_BRPORT_BCAST_FLOOD",
    "isolated": "IFLA_BRPORT_ISOLATED",
}

Attributes = list[Any]


def _request(
    cls: Any, what: str, kind: int, flags: int, fields: Mapping[str, int], attributes: Sequence[Any] = ()
) -> Request:
    message = cls()
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = list(attributes)
    message["header"]["type"] = kind
    message["header"]["flags"] = _REQUEST | flags
    message.encode()
    return Request(what, bytes(message.data))


def veth_create(
    name: str, peer: str, peer_namespace_fd: int | None, attributes: Attributes, peer_attributes: Attributes
) -> Request:
    """Create `name` here, up, and `peer` in the namespace of the descriptor (None: here too), down.

    The kernel configures the peer before the two ends know each other and refuses to bring it up then (veth_open).
    """
    beyond: Attributes = [] if peer_namespace_fd is None else [("IFLA_NET_NS_FD", peer_namespace_fd)]
    peer_message = {"attrs": [("IFLA_IFNAME", peer), *beyond, *peer_attributes]}
    information = [
        ("IFLA_INFO_KIND", "veth"),
        ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", peer_message)]}),
    ]
    return _request(
        ifinfmsg,
        f"create veth {name}",
        RTM_NEWLINK,
        _ACK | _CREATE | _EXCL,
        {"flags": _IFF_UP, "change": _IFF_UP},
        [("IFLA_IFNAME", name), *attributes, ("IFLA_LINKINFO", {"attrs": information})],
    )


def vxlan_create(name: str, namespace_fd: int | None, attributes: Attributes, data: Attributes) -> Request:
    """Create a VXLAN device in the namespace of the descriptor (None: here), down; its UDP socket will be here
    (IFLA_VXLAN_... in `data`).
    """
    beyond: Attributes = [] if namespace_fd is None else [("IFLA_NET_NS_FD", namespace_fd)]
    information = [("IFLA_INFO_KIND", "vxlan"), ("IFLA_INFO_DATA", {"attrs": data})]
    return _request(
        ifinfmsg,
        f"create tunnel {name}",
        RTM_NEWLINK,
        _ACK | _CREATE | _EXCL,
        {},
        [("IFLA_IFNAME", name), *beyond, *attributes, ("IFLA_LINKINFO", {"attrs": information})],
    )


def bridge_create(name: str, attributes: Attributes, multicast_snooping: bool) -> Request:
    """Create a bridge without spanning tree, up."""
    data = [("IFLA_BR_STP_STATE", 0), ("IFLA_BR_MCAST_SNOOPING", int(multicast_snooping))]
    information = [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", {"attrs": data})]
    return _request(
        ifinfmsg,
        f"create bridge {name}",
        RTM_NEWLINK,
        _ACK | _CREATE | _EXCL,
        {"flags": _IFF_UP, "change": _IFF_UP},
        [("IFLA_IFNAME", name), *attributes, ("IFLA_LINKINFO", {"attrs": information})],
    )


def link_set(name: str, attributes: Attributes, up: bool | None = None) -> Request:
    """Change attributes of the link `name`; `up` also sets its administrative state."""
    fields = {} if up is None else {"flags": _IFF_UP if up else 0, "change": _IFF_UP}
    return _request(ifinfmsg, f"set link {name}", RTM_SETLINK, _ACK, fields, [("IFLA_IFNAME", name), *attributes])


def link_delete(name: str) -> Request:
    """Delete the link `name` (and its veth peer)."""
    return _request(ifinfmsg, f"delete link {name}", RTM_DELLINK, _ACK, {}, [("IFLA_IFNAME", name)])


def link_get(name: str) -> Request:
    """Ask for one link by name; the kernel refuses with ENODEV when there is none."""
    return _request(ifinfmsg, f"get link {name}", RTM_GETLINK, _ACK, {}, [("IFLA_IFNAME", name)])


def link_get_by_index(index: int) -> Request:
    """Ask for one link by its number."""
    return _request(ifinfmsg, f"get link {index}", RTM_GETLINK, _ACK, {"index": index})


def links_dump() -> Request:
    """Ask for all links."""
    return _request(ifinfmsg, "list links", RTM_GETLINK, _DUMP, {})


def port_set(index: int, flags: Mapping[str, bool]) -> Request:
    """Set bridge port flags (names of PORT_FLAGS) of the link `index`."""
    nested = {"attrs": [(PORT_FLAGS[name], int(value)) for name, value in flags.items()]}
    attributes = [("IFLA_PROTINFO", nested, _NESTED)]
    fields = {"family": _AF_BRIDGE, "index": index}
    return _request(ifinfmsg, f"set bridge port {index}", RTM_SETLINK, _ACK, fields, attributes)


def ports_dump() -> Request:
    """Ask for all bridge ports with their flags."""
    return _request(ifinfmsg, "list bridge ports", RTM_GETLINK, _DUMP, {"family": _AF_BRIDGE})


def fdb_replace(mac: str, port_index: int) -> Request:
    """Static forwarding entry: frames to `mac` leave on the bridge port `port_index`.

    The state is NUD_NOARP ("static"); NUD_PERMANENT would make the address local to the bridge itself.
    """
    return _request(
        ndmsg,
        f"forward {mac}",
        RTM_NEWNEIGH,
        _ACK | _CREATE | _REPLACE,
        {"family": _AF_BRIDGE, "ifindex": port_index, "state": NUD_NOARP, "flags": NTF_MASTER},
        [("NDA_LLADDR", mac)],
    )


def fdb_delete(mac: str, port_index: int) -> Request:
    """Remove the forwarding entry of `mac` on the port."""
    fields = {"family": _AF_BRIDGE, "ifindex": port_index, "flags": NTF_MASTER}
    return _request(ndmsg, f"stop forwarding {mac}", RTM_DELNEIGH, _ACK, fields, [("NDA_LLADDR", mac)])


def fdb_dump() -> Request:
    """Ask for all forwarding entries of all bridges."""
    return _request(ndmsg, "list forwarding entries", RTM_GETNEIGH, _DUMP, {"family": _AF_BRIDGE})


def address_add(index: int, address: str, prefix_length: int) -> Request:
    """Give the link `index` an IPv4 address."""
    return _address(f"add address {address}", RTM_NEWADDR, _ACK | _CREATE | _REPLACE, index, address, prefix_length)


def address_delete(index: int, address: str, prefix_length: int) -> Request:
    """Take an IPv4 address from the link `index`."""
    return _address(f"delete address {address}", RTM_DELADDR, _ACK, index, address, prefix_length)


def _address(what: str, kind: int, flags: int, index: int, address: str, prefix_length: int) -> Request:
    fields = {"family": socket.AF_INET, "index": index, "prefixlen": prefix_length}
    return _request(ifaddrmsg, what, kind, flags, fields, [("IFA_LOCAL", address), ("IFA_ADDRESS", address)])


def addresses_dump() -> Request:
    """Ask for all IPv4 addresses."""
    return _request(ifaddrmsg, "list addresses", RTM_GETADDR, _DUMP, {"family": socket.AF_INET})


def default_route_replace(index: int, gateway: str) -> Request:
    """Make `gateway` on the link `index` the IPv4 default route."""
    return _default_route(f"set default route {gateway}", RTM_NEWROUTE, _ACK | _CREATE | _REPLACE, index, gateway)


def default_route_delete(index: int, gateway: str) -> Request:
    """Remove that default route."""
    return _default_route(f"delete default route {gateway}", RTM_DELROUTE, _ACK, index, gateway)


def _default_route(what: str, kind: int, flags: int, index: int, gateway: str) -> Request:
    # Main table, set by an administrator, unicast, of any scope (rtnetlink(7)).
    fields = {"family": socket.AF_INET, "table": 254, "proto": 4, "type": 1, "scope": 0}
    return _request(rtmsg, what, kind, flags, fields, [("RTA_GATEWAY", gateway), ("RTA_OIF", index)])


def routes_dump() -> Request:
    """Ask for all IPv4 routes."""
    return _request(rtmsg, "list routes", RTM_GETROUTE, _DUMP, {"family": socket.AF_INET})


def route_get(address: str) -> Request:
    """Ask which way a packet to an IPv4 address would take."""
    fields = {"family": socket.AF_INET, "dst_len": 32}
    return _request(rtmsg, f"get route to {address}", RTM_GETROUTE, _ACK, fields, [("RTA_DST", address)])


def neighbour_replace(index: int, address: str, mac: str) -> Request:
    """Permanent neighbour entry: `address` is at `mac`, no ARP."""
    return _request(
        ndmsg,
        f"set neighbour {address}",
        RTM_NEWNEIGH,
        _ACK | _CREATE | _REPLACE,
        {"family": socket.AF_INET, "ifindex": index, "state": NUD_PERMANENT},
        [("NDA_DST", address), ("NDA_LLADDR", mac)],
    )


def neighbour_delete(index: int, address: str) -> Request:
    """Remove a neighbour entry."""
    fields = {"family": socket.AF_INET, "ifindex": index}
    return _request(ndmsg, f"delete neighbour {address}", RTM_DELNEIGH, _ACK, fields, [("NDA_DST", address)])


def neighbours_dump() -> Request:
    """Ask for all IPv4 neighbour entries."""
    return _request(ndmsg, "list neighbours", RTM_GETNEIGH, _DUMP, {"family": socket.AF_INET})


def ticks_of_ns(duration_ns: int) -> int:
    """A duration in the packet scheduler's ticks (/proc/net/psched), rounded to the nearest."""
    return round(duration_ns * float(tick_in_usec) / 1000)


def ns_of_ticks(ticks: int) -> int:
    """The duration of `ticks` of the packet scheduler, in ns."""
    return round(ticks * 1000 / float(tick_in_usec))


def tbf_options(rate_bps: int, burst_bytes: int, limit_bytes: int) -> dict[str, Any]:
    """Token bucket (tc-tbf(8)): `rate_bps` bit/s, bucket of `burst_bytes`, queue of at most `limit_bytes`."""
    bytes_per_second = rate_bps // 8
    buffer_ns = burst_bytes * 1_000_000_000 // bytes_per_second
    parameters = {"rate": bytes_per_second, "mtu": 0, "buffer": ticks_of_ns(buffer_ns), "limit": limit_bytes}
    return {"attrs": [("TCA_TBF_PARMS", parameters), ("TCA_TBF_RTAB", True)]}


def qdisc_replace(index: int, kind: str, parent: int, handle: int, options: dict[str, Any]) -> Request:
    """Install the queueing discipline `kind` at `parent` of the link `index`, replacing what is there."""
    return _request(
        tcmsg,
        f"set {kind} on link {index}",
        RTM_NEWQDISC,
        _ACK | _CREATE | _REPLACE,
        {"index": index, "parent": parent, "handle": handle},
        [("TCA_KIND", kind), ("TCA_OPTIONS", options)],
    )


def qdisc_delete(index: int, parent: int) -> Request:
    """Remove the queueing discipline at `parent` of the link `index`."""
    return _request(tcmsg, f"delete qdisc of link {index}", RTM_DELQDISC, _ACK, {"index": index, "parent": parent})


def qdiscs_dump() -> Request:
    """Ask for all queueing disciplines."""
    return _request(tcmsg, "list qdiscs", RTM_GETQDISC, _DUMP, {})


def link_statistics_dump() -> Request:
    """Ask for the 64-bit counters of all links and nothing else (RTM_GETSTATS, IFLA_STATS_LINK_64)."""
    header = struct.pack("=IHHII", 28, RTM_GETSTATS, _REQUEST | _DUMP, 0, 0)
    return Request("list link counters", header + struct.pack("=BBHII", 0, 0, 0, 0, 1))
