"""Counters of every hop a test packet passes, and the balance of each hop: in = out + drops by cause + residual.

The path of an echo request and its reply, where [meter] is a tbf of an instance's uplink:

    loadgen -> [meter in] -> instance interior port -> VNF -> [meter out] -> echoserver
    loadgen <- [meter out] <- VNF <- instance exterior port <- [meter in] <- echoserver

A server-originated packet takes the lower line only. Source and destination are the same hop: the steering decides
which of them a frame reaches, and no frame passes both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from harness.measure.admission import admit, apportion

CAUSES = (
    "not_sent",
    "link_down",
    "impairment",
    "meter",
    "queue",
    "pkt_q_overflow",
    "st_q_out_overflow",
    "vnf_refusal",
    "destination_not_ready",
    "source_stopped",
    "instance_down",
    "left_in_queue",
    "echo_tx_failed",
    "wrong_cell",
)
"""Named causes of loss, in the order in which a packet may meet them."""

LOADGEN_SENT = "loadgen and echoserver records"
TO_INTERIOR = "loadgen to VNF"
VNF = "VNF"
TO_ECHOSERVER = "VNF to echoserver"
ECHOSERVER = "echoserver"
TO_EXTERIOR = "echoserver to VNF"
TO_LOADGEN = "VNF to loadgen"
LOADGEN_RECEIVED = "loadgen records"
WIRES = (TO_INTERIOR, TO_ECHOSERVER, TO_EXTERIOR, TO_LOADGEN)
"""Hops between two sockets, where frames can vanish uncounted."""


def _refuse_negative(counters: object) -> None:
    for entry in fields(counters):  # type: ignore[arg-type]
        value = getattr(counters, entry.name)
        if isinstance(value, int) and value < 0:
            raise ValueError(f"{type(counters).__name__}.{entry.name} is {value}; a counter is not negative")


@dataclass(frozen=True)
class PortCounters:
    """One dataplane port of an instance, test packets only (no ARP, no drain frame). ValueError when negative.

    received_packets: read from the socket, or left in it when the dataplane had stopped.
    kernel_dropped_packets: the socket's own drops (PACKET_STATISTICS).
    sent_packets, send_failed_packets: accepted by the kernel, and refused by it (ENOBUFS: the uplink's meter).
    """

    received_packets: int = 0
    kernel_dropped_packets: int = 0
    sent_packets: int = 0
    send_failed_packets: int = 0

    def __post_init__(self) -> None:
        _refuse_negative(self)


@dataclass(frozen=True)
class InstanceCounters:
    """One VNF instance: its ports, the meter towards it, and what ended inside it. ValueError when negative.

    meter_in_dropped_packets: drops of the tbf on the fabric's port towards the instance. It counts management frames
    too, so it only bounds the test packets lost there.
    refused_packets: drops by the image, by name of the reason. The other counters are named like their ledger row;
    stopped_packets: reached the instance after it had stopped; not_ready_packets: before its pkt_q had opened.

    left_in_queue_packets: what its queues held at the end. Of an instance whose process has ended, by the counters of
    its uplink: unread_packets arrived there and were never read (a bound, as the meter's drops); unrecorded_packets
    left there and were not counted any more; held_packets bounds what was in its hands.
    """

    interior: PortCounters = field(default_factory=PortCounters)
    exterior: PortCounters = field(default_factory=PortCounters)
    meter_in_dropped_packets: int = 0
    pkt_q_overflow_packets: int = 0
    st_q_out_overflow_packets: int = 0
    not_ready_packets: int = 0
    stopped_packets: int = 0
    refused_packets: Mapping[str, int] = field(default_factory=dict)
    left_in_queue_packets: int = 0
    unread_packets: int = 0
    unrecorded_packets: int = 0
    held_packets: int = 0

    @property
    def vanished_packets(self) -> int:
        """Read, but neither sent nor dropped."""
        read = self.interior.received_packets + self.exterior.received_packets
        sent = sum(port.sent_packets + port.send_failed_packets for port in (self.interior, self.exterior))
        counted = (self.pkt_q_overflow_packets, self.st_q_out_overflow_packets, self.not_ready_packets)
        return read - sent - sum(counted) - self.stopped_packets - sum(self.refused_packets.values())

    def __post_init__(self) -> None:
        _refuse_negative(self)
        for reason, packets in self.refused_packets.items():
            if packets < 0:
                raise ValueError(f"refused_packets[{reason!r}] is {packets}; a counter is not negative")


@dataclass(frozen=True)
class Bound:
    """Of the frames that vanished on `wires`, taken together, at most `packets` ended by `cause`: what the link there
    admits to. It may count frames that are no test packets, too. ValueError when negative or for an unknown name.
    """

    cause: str
    wires: tuple[str, ...]
    packets: int

    def __post_init__(self) -> None:
        _refuse_negative(self)
        if self.cause not in CAUSES or not set(self.wires) <= set(WIRES):
            raise ValueError(f"no such cause or wire: {self.cause}, {', '.join(self.wires)}")


@dataclass(frozen=True)
class WireCounters:
    """What an element on a wire that counts every frame did to the test packets. ValueError when negative.

    duplicated_packets: copies it has made. The others ended there, copies among them, by the cause they are named for.
    """

    duplicated_packets: int = 0
    impairment_packets: int = 0
    meter_packets: int = 0
    queue_packets: int = 0

    def __post_init__(self) -> None:
        _refuse_negative(self)

    @property
    def drops(self) -> dict[str, int]:
        """By cause."""
        return {"impairment": self.impairment_packets, "meter": self.meter_packets, "queue": self.queue_packets}

    def plus(self, other: WireCounters) -> WireCounters:
        """Of both."""
        return WireCounters(*(getattr(self, entry.name) + getattr(other, entry.name) for entry in fields(self)))


@dataclass(frozen=True)
class HopCounters:
    """Test packets counted at every hop of one run, from its first to its last packet. ValueError when negative.

    loadgen_received_packets: echo replies and server-originated packets accepted, duplicates included.
    echoserver_tx_failed_packets: echo replies the kernel refused. A server-originated packet that could not be sent
    has no send time in the records and is `not_sent`.
    softnet_dropped_packets: backlog overflows of all CPUs (/proc/net/softnet_stat). veth counts the same loss once more
    as tx_dropped, so that is not added. It counts every frame of the machine: a bound, like the meter's drops.
    """

    loadgen_sent_packets: int
    loadgen_received_packets: int
    echoserver_received_packets: int
    echoserver_echoed_packets: int
    echoserver_server_sent_packets: int
    source: InstanceCounters
    destination: InstanceCounters = field(default_factory=InstanceCounters)
    loadgen_kernel_dropped_packets: int = 0
    echoserver_kernel_dropped_packets: int = 0
    echoserver_tx_failed_packets: int = 0
    softnet_dropped_packets: int = 0
    bounds: tuple[Bound, ...] = ()
    duplicates_by_design: bool = False
    counted: Mapping[str, WireCounters] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _refuse_negative(self)

    def all_bounds(self) -> tuple[Bound, ...]:
        """Every bound of a wire, in the order in which they are applied."""
        towards = sum(instance.meter_in_dropped_packets for instance in (self.source, self.destination))
        unread = sum(instance.unread_packets for instance in (self.source, self.destination))
        return (
            # Counted by an interface, frame by frame: nothing else of these wires is known so well.
            Bound("instance_down", (TO_INTERIOR, TO_EXTERIOR), unread),
            *self.bounds,
            Bound("meter", (TO_INTERIOR, TO_EXTERIOR), towards),
            Bound("queue", WIRES, self.softnet_dropped_packets),
        )


@dataclass(frozen=True)
class HopBalance:
    """One hop. `drops` by cause (`vnf_refusal:<reason>` for refusals); residual > 0: vanished, < 0: came from nowhere.

    duplicated_packets: copies that were made here, on purpose and counted: they have entered, too.
    echo_only: nothing but echo requests passes here, so its drops need no apportioning.
    """

    name: str
    entered_packets: int
    left_packets: int
    drops: Mapping[str, int]
    echo_only: bool
    duplicated_packets: int = 0

    @property
    def residual_packets(self) -> int:
        entered = self.entered_packets + self.duplicated_packets
        return entered - self.left_packets - sum(self.drops.values())


def hop_balances(
    hops: HopCounters, sent_packets: int, delivered_frames: int, wrong_cell_packets: int = 0
) -> list[HopBalance]:
    """Balance every hop of the path.

    sent_packets: both kinds, with a send time in the records. delivered_frames: both kinds, duplicates included;
    wrong_cell_packets: both kinds, beside those.

    Frames that vanish between two sockets, beyond the socket's own drops and those that are counted one by one
    (`HopCounters.counted`), end by what the links and the softnet backlogs admit to (`HopCounters.all_bounds`). Where
    that is less than what vanished, the hops share it in proportion; the rest stays residual.
    """
    instances = (hops.source, hops.destination)
    interior_received = sum(i.interior.received_packets for i in instances)
    exterior_received = sum(i.exterior.received_packets for i in instances)
    interior_sent = sum(i.interior.sent_packets for i in instances)
    exterior_sent = sum(i.exterior.sent_packets for i in instances)
    # Sent, but the process ended before it counted them: they are where the next hop received more than was sent.
    appeared = {
        TO_ECHOSERVER: max(
            0, hops.echoserver_received_packets + hops.echoserver_kernel_dropped_packets - exterior_sent
        ),
        TO_LOADGEN: max(0, hops.loadgen_received_packets + hops.loadgen_kernel_dropped_packets - interior_sent),
    }
    uncounted = min(sum(appeared.values()), sum(i.unrecorded_packets for i in instances))
    to_echoserver, to_loadgen = apportion(uncounted, [appeared[TO_ECHOSERVER], appeared[TO_LOADGEN]])
    exterior_sent += to_echoserver
    interior_sent += to_loadgen
    server_sent = hops.echoserver_server_sent_packets
    wires = {
        TO_INTERIOR: (
            hops.loadgen_sent_packets,
            interior_received,
            sum(i.interior.kernel_dropped_packets for i in instances),
        ),
        TO_ECHOSERVER: (exterior_sent, hops.echoserver_received_packets, hops.echoserver_kernel_dropped_packets),
        TO_EXTERIOR: (
            hops.echoserver_echoed_packets + server_sent,
            exterior_received,
            sum(i.exterior.kernel_dropped_packets for i in instances),
        ),
        TO_LOADGEN: (interior_sent, hops.loadgen_received_packets, hops.loadgen_kernel_dropped_packets),
    }
    counted = {name: hops.counted.get(name, WireCounters()) for name in wires}
    vanished = {
        name: max(0, entered + counted[name].duplicated_packets - left - queue - sum(counted[name].drops.values()))
        for name, (entered, left, queue) in wires.items()
    }
    admitted = _admit(vanished, hops.all_bounds())

    def wire(name: str) -> HopBalance:
        entered, left, queue = wires[name]
        drops = {"meter": 0, **admitted[name]}
        drops["queue"] = queue + drops.get("queue", 0)
        for cause, packets in counted[name].drops.items():
            if packets:
                drops[cause] = drops.get(cause, 0) + packets
        copies = counted[name].duplicated_packets
        return HopBalance(name, entered, left, drops, name in (TO_INTERIOR, TO_ECHOSERVER), copies)

    # Frames leave by the exterior port only as echo requests, so their meter drops are told apart from the replies'.
    vnf_drops = _vnf_drops(instances, uncounted)
    exterior_failed = sum(i.exterior.send_failed_packets for i in instances)
    return [
        HopBalance(LOADGEN_SENT, sent_packets, hops.loadgen_sent_packets + server_sent, {}, echo_only=False),
        wire(TO_INTERIOR),
        HopBalance(
            VNF,
            interior_received + exterior_received,
            interior_sent + exterior_sent + exterior_failed,
            vnf_drops,
            echo_only=False,
        ),
        HopBalance(
            f"{VNF} exterior uplink",
            exterior_sent + exterior_failed,
            exterior_sent,
            {"meter": exterior_failed},
            echo_only=True,
        ),
        wire(TO_ECHOSERVER),
        HopBalance(
            ECHOSERVER,
            hops.echoserver_received_packets,
            hops.echoserver_echoed_packets,
            {"echo_tx_failed": hops.echoserver_tx_failed_packets},
            echo_only=True,
        ),
        wire(TO_EXTERIOR),
        wire(TO_LOADGEN),
        HopBalance(
            LOADGEN_RECEIVED,
            hops.loadgen_received_packets,
            delivered_frames,
            {"wrong_cell": wrong_cell_packets},
            echo_only=False,
        ),
    ]


def _admit(vanished: Mapping[str, int], bounds: Sequence[Bound]) -> dict[str, dict[str, int]]:
    """Of what vanished on each wire, the packets by cause."""
    causes: dict[str, dict[str, int]] = {name: {} for name in vanished}
    explained = admit(vanished, [(bound.wires, bound.packets) for bound in bounds])
    for bound, parts in zip(bounds, explained, strict=True):
        for name, packets in parts.items():
            if packets:
                causes[name][bound.cause] = causes[name].get(bound.cause, 0) + packets
    return causes


def _vnf_drops(instances: tuple[InstanceCounters, ...], unrecorded_packets: int) -> dict[str, int]:
    drops = {
        "meter": sum(i.interior.send_failed_packets for i in instances),
        "pkt_q_overflow": sum(i.pkt_q_overflow_packets for i in instances),
        "st_q_out_overflow": sum(i.st_q_out_overflow_packets for i in instances),
        "destination_not_ready": sum(i.not_ready_packets for i in instances),
        "source_stopped": sum(i.stopped_packets for i in instances),
        "left_in_queue": sum(min(max(0, i.vanished_packets), i.left_in_queue_packets) for i in instances),
    }
    in_hand = sum(max(0, i.vanished_packets) for i in instances if i.held_packets) - unrecorded_packets
    drops["instance_down"] = min(max(0, in_hand), sum(i.held_packets for i in instances))
    for reason in sorted({reason for i in instances for reason in i.refused_packets}):
        drops[f"vnf_refusal:{reason}"] = sum(i.refused_packets.get(reason, 0) for i in instances)
    return drops
