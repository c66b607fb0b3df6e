"""The fabric at run time: steering and drain frames. Steering is a table of (MAC -> port)."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from harness.errors import DeadlineExceeded, HarnessError, UsageError
from harness.provision import messages
from harness.provision.connections.base import Connection
from harness.provision.netlink import Request, RouteSocket
from harness.provision.tasks.lookup import link_names
from harness.testbed import topology as names
from harness.testbed.drain import drain_frame
from harness.testbed.steering import DRAIN_DEADLINE_NS, Steered
from harness.testbed.topology import Topology

_DRAIN_RETRY_S = 50e-6
_DRAIN_REFUSED = {errno.ENOBUFS: "the meter dropped it", errno.ENETDOWN: "the link was down"}


def steer_requests(indices: Mapping[str, int], owner: str) -> list[Request]:
    """The batch that gives the VNF addresses to `owner`.

    Broadcasts are let through to the owner before they are cut off from the other: for an instant both get them, so
    that no ARP request is lost.
    """
    (other,) = (node for node in names.INSTANCES if node != owner)
    return [
        *(messages.fdb_replace(mac, indices[owner]) for mac in names.VNF_MACS),
        messages.port_set(indices[owner], {"bcast_flood": True}),
        messages.port_set(indices[other], {"bcast_flood": False}),
    ]


def visit_all_cpus() -> None:
    """Let the calling thread run on every CPU it may use, once.

    A CPU runs this thread only between two frames: forwarding happens with softirqs disabled, which cannot be
    preempted. After the visit no CPU is still at work on a frame whose route it looked up before.
    """
    allowed = os.sched_getaffinity(0)
    try:
        for cpu in allowed:
            os.sched_setaffinity(0, {cpu})
    finally:
        os.sched_setaffinity(0, allowed)


@contextmanager
def urgent() -> Iterator[None]:
    """Within the block the calling thread runs before every dataplane thread, where the privilege is there."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_max(os.SCHED_FIFO)))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


class Fabric:
    """The provisioned fabric of a run on this host, as a `FabricControl`. Its sockets stay open, so close it before the
    namespaces go.

    drain_hold_ns: how long after a switchover a drain frame has to wait, where the link towards the source lets frames
    overtake each other (`overtaking_ns`). Raises HarnessError when the fabric is not provisioned.
    """

    def __init__(self, run_id: str, connection: Connection, topology: Topology, drain_hold_ns: int = 0) -> None:
        self.run_id = run_id
        self._drain_hold_ns = drain_hold_ns
        self._settled_ns = 0
        netns = topology.netns(names.FABRIC)
        self._steering = RouteSocket(connection.socket_in(netns, socket.AF_NETLINK, socket.SOCK_RAW))
        self._ports = link_names(self._steering)
        self._indices = {name: index for index, name in self._ports.items()}
        missing = [node for node in names.NODE_MACS if node not in self._indices]
        if missing:
            self.close()
            raise HarnessError(f"fabric of run {run_id}: not provisioned, ports missing: {', '.join(missing)}")
        self._batches = {owner: steer_requests(self._indices, owner) for owner in names.INSTANCES}
        self._drain = connection.socket_in(netns, socket.AF_PACKET, socket.SOCK_RAW)
        self._drain.bind((names.SOURCE, 0))

    def steer(self, to: str) -> Steered:
        """Give the VNF addresses to `to` ("source" or "destination") by one netlink batch.

        On return every frame forwarded by the table as it was before is in the queue of its port or beyond.
        Raises NetlinkError when the kernel refused a part of it.
        """
        if to not in names.INSTANCES:
            raise UsageError(f"steer to {to!r}: must be one of {', '.join(names.INSTANCES)}")
        with urgent():
            done = self._steering.transact(self._batches[to])
            visit_all_cpus()
        self._settled_ns = time.monotonic_ns()
        return Steered(to, done.started_ns, done.ended_ns, self._settled_ns, done.requests)

    def cut_management(self, node: str) -> None:
        """Stop forwarding to the management address of an instance; nothing is flooded instead. Doing it twice is no
        error."""
        request = messages.fdb_delete(names.MANAGEMENT_MACS[node], self._indices[node])
        self._steering.transact([request], ignore=frozenset({errno.ENOENT}))

    def restore_management(self, node: str) -> None:
        """Forward to it again. Doing it twice is no error."""
        self._steering.transact([messages.fdb_replace(names.MANAGEMENT_MACS[node], self._indices[node])])

    def forwarding(self) -> list[tuple[str, str]]:
        """(MAC, port) of every static entry of the forwarding table."""
        return [
            (str(entry.get_attr("NDA_LLADDR")), self._ports.get(entry["ifindex"], "?"))
            for entry in self._steering.dump(messages.fdb_dump())
            if entry["state"] & messages.NUD_NOARP
        ]

    def owner(self) -> str | None:
        """The node that owns the VNF addresses by the forwarding table; None when they have no common owner."""
        ports = {
            self._ports.get(entry["ifindex"])
            for entry in self._steering.dump(messages.fdb_dump())
            if entry.get_attr("NDA_LLADDR") in names.VNF_MACS and entry["state"] & messages.NUD_NOARP
        }
        return ports.pop() if len(ports) == 1 else None

    def inject_drain(self, port_index: int, sequence: int, token: bytes, deadline_ns: int = DRAIN_DEADLINE_NS) -> int:
        """Send a drain frame out of the port towards the source, behind all its queue holds; returns when (ns).

        Where frames overtake each other there, first wait until none can be left of those before the switchover.
        A full queue drops the frame, and a link that is down takes none; the kernel says so and it is sent again until
        `deadline_ns` from now has passed, which raises DeadlineExceeded: the frame then never left.
        """
        frame = drain_frame(port_index, sequence, token)
        time.sleep(max(0, self._settled_ns + self._drain_hold_ns - time.monotonic_ns()) / 1e9)
        last_ns = time.monotonic_ns() + deadline_ns
        while True:
            try:
                self._drain.send(frame)
            except OSError as error:
                if error.errno not in _DRAIN_REFUSED:
                    raise
                if time.monotonic_ns() > last_ns:
                    limit, why = f"{deadline_ns / 1e6:g} ms", _DRAIN_REFUSED[error.errno]
                    raise DeadlineExceeded(f"drain frame {port_index}: {why} for {limit}") from error
                time.sleep(_DRAIN_RETRY_S)
            else:
                return time.monotonic_ns()

    def close(self) -> None:
        """Close the sockets; they keep their namespaces alive."""
        self._steering.close()
        drain: socket.socket | None = getattr(self, "_drain", None)
        if drain is not None:
            drain.close()
