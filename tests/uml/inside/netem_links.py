"""In the guest: what netem does to frames of one link, measured against what its conditions say.

Every limit is so wide that chance breaks it less than once in a million runs; the kernel's draws have no seed.
"""

from __future__ import annotations

import math
import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.provision import messages
from harness.provision.facts import kernel_features
from harness.testbed.conditions import LinkConditions
from harness.testbed.testbed import Testbed
from harness.testbed.topology import Topology, UplinkSpec
from tests.system.wire import FLOWS, MARK, NODE_MAC, WAIT_S, Flood, Wire, datagram

INTERIOR, EXTERIOR = "02:00:00:00:01:00", "02:00:00:00:01:01"
TOKEN = bytes(range(16))
FRAMES = 2000
CHANCE = 5.0
"""Standard deviations: beyond them lies one of 1,700,000 draws."""
SLOW_NS = 1_000_000
"""What the guest adds to a delay, in the median."""
_NUMBER_AT = 42
_SO_SNDBUFFORCE, _SO_TIMESTAMPNS = 32, 35


def test_the_guests_kernel_has_what_this_is_about() -> None:
    assert kernel_features().netem


@contextmanager
def provisioned(state: Path, uplink: UplinkSpec, source_down: LinkConditions | None = None) -> Iterator[Testbed]:
    links: Any = {} if source_down is None else {("source", "down"): source_down}
    topology = Topology(f"t{secrets.token_hex(4)[:7]}", uplink, latency_backend="netem", links=links)
    with Testbed(topology, state_directory=state) as testbed:
        testbed.fabric.steer("source")
        yield testbed


def sender_on(testbed: Testbed, node: str) -> Wire:
    """A wire that netem may hold many frames of."""
    wire = Wire(testbed, node)
    wire.socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 64 << 20)
    return wire


class Crossing:
    """Numbered frames from the load generator over the link towards the source: when sent, when and how received."""

    def __init__(self, state: Path, conditions: LinkConditions, interval_ns: int = 200_000) -> None:
        with provisioned(state, UplinkSpec(rate_bps=None, latency_ns=0), conditions) as testbed:
            sender, receiver = sender_on(testbed, "loadgen"), Wire(testbed, "source")
            receiver.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self.head = bytes(datagram(INTERIOR, b""))
            self.sent_ns = self._send(sender.socket, interval_ns)
            self.frames, self.received_ns = self._receive(receiver.socket, conditions)
            self.netem = testbed.counters().qdisc("fabric", "source", "netem")
            sender.close()
            receiver.close()

    def frame(self, number: int) -> bytes:
        return self.head + struct.pack(">I", number) + bytes(400)

    def _send(self, sender: socket.socket, interval_ns: int) -> np.ndarray:
        sent_ns = np.zeros(FRAMES, np.int64)
        next_ns = time.monotonic_ns()
        for number in range(FRAMES):
            while time.monotonic_ns() < next_ns:
                pass
            sent_ns[number] = time.time_ns()
            sender.send(self.frame(number))
            next_ns = max(next_ns + interval_ns, time.monotonic_ns())
        return sent_ns

    def _receive(self, receiver: socket.socket, conditions: LinkConditions) -> tuple[list[bytes], np.ndarray]:
        """Everything until nothing can be under way any more."""
        frames, received_ns = [], []
        receiver.setblocking(True)
        receiver.settimeout((conditions.latency_ns + 5 * conditions.ipdv_ns) / 1e9 + 0.5)
        while True:
            try:
                data, control, _, _ = receiver.recvmsg(2048, 64)
            except TimeoutError:
                return frames, np.array(received_ns, np.int64)
            seconds, ns = struct.unpack("qq", control[0][2])
            frames.append(data)
            received_ns.append(seconds * 1_000_000_000 + ns)

    @property
    def numbers(self) -> np.ndarray:
        """Of the frames in the order of their arrival; only where none is damaged."""
        return np.array([struct.unpack_from(">I", frame, _NUMBER_AT)[0] for frame in self.frames], np.int64)

    @property
    def delays_ns(self) -> np.ndarray:
        return self.received_ns - self.sent_ns[self.numbers]


def assert_share(count: int, probability: float, of: int = FRAMES) -> None:
    """That many of so many by chance."""
    deviation = math.sqrt(of * probability * (1 - probability))
    assert abs(count - of * probability) <= CHANCE * deviation, f"{count} of {of}, expected {probability:.1%}"


def test_a_constant_latency_is_never_undercut_and_keeps_the_order(tmp_path: Path) -> None:
    crossing = Crossing(tmp_path, LinkConditions(latency_ns=5_000_000))
    assert [*crossing.numbers] == [*range(FRAMES)]
    assert crossing.delays_ns.min() >= 5_000_000
    assert np.median(crossing.delays_ns) < 5_000_000 + SLOW_NS


def test_loss(tmp_path: Path) -> None:
    crossing = Crossing(tmp_path, LinkConditions(loss=0.1, latency_ns=1_000_000))
    assert_share(FRAMES - len(crossing.frames), 0.1)
    assert len(set(crossing.numbers)) == len(crossing.frames)
    assert crossing.netem.dropped_packets == FRAMES - len(crossing.frames), "the kernel counts what it loses"


def test_duplication(tmp_path: Path) -> None:
    crossing = Crossing(tmp_path, LinkConditions(duplication=0.1, latency_ns=1_000_000))
    copies = np.bincount(crossing.numbers, minlength=FRAMES)
    assert copies.min() == 1
    assert copies.max() == 2
    assert_share(int((copies == 2).sum()), 0.1)
    assert crossing.netem.sent_packets == len(crossing.frames)


def test_reordered_frames_skip_the_delay_and_no_other_does(tmp_path: Path) -> None:
    crossing = Crossing(tmp_path, LinkConditions(reordering=0.1, latency_ns=40_000_000))
    assert sorted(crossing.numbers) == [*range(FRAMES)]
    skipped = crossing.delays_ns < 20_000_000
    assert_share(int(skipped.sum()), 0.1)
    assert crossing.delays_ns[~skipped].min() >= 40_000_000
    delayed = crossing.numbers[~skipped]
    assert [*delayed] == sorted(delayed)


def test_corruption_flips_one_bit(tmp_path: Path) -> None:
    crossing = Crossing(tmp_path, LinkConditions(corruption=0.1, latency_ns=1_000_000))
    assert len(crossing.frames) == FRAMES
    flipped = []
    for number, frame in enumerate(crossing.frames):  # a constant latency keeps the order
        one, other = (int.from_bytes(data, "big") for data in (frame, crossing.frame(number)))
        flipped.append((one ^ other).bit_count())
    assert set(flipped) == {0, 1}
    assert_share(flipped.count(1), 0.1)


def pareto(u: np.ndarray) -> np.ndarray:
    """Shape 3, less its mean, times 4/3; cut off at 4 as the tables are (tc-netem(8))."""
    return np.minimum(((1 - u) ** (-1 / 3) - 1.5) * 4 / 3, 4.0)


def normal(u: np.ndarray) -> np.ndarray:
    from scipy.stats import norm

    return np.asarray(norm.ppf(u))


QUANTILES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "uniform": lambda u: 2 * u - 1,
    "normal": normal,
    "pareto": pareto,
    "paretonormal": lambda u: (normal(u) + 3 * pareto(u)) / 4,
}


@pytest.mark.parametrize("distribution", QUANTILES)
def test_ipdv_is_distributed_as_asked(tmp_path: Path, distribution: Any) -> None:
    latency_ns, ipdv_ns = 100_000_000, 20_000_000
    conditions = LinkConditions(latency_ns=latency_ns, ipdv_ns=ipdv_ns, ipdv_distribution=distribution)
    crossing = Crossing(tmp_path, conditions)
    assert sorted(crossing.numbers) == [*range(FRAMES)]
    measured = np.sort((crossing.delays_ns - latency_ns) / ipdv_ns)
    u = (np.arange(200_000) + 0.5) / 200_000
    expected = np.sort(QUANTILES[distribution](u))
    # Kolmogorov-Smirnov: 2.7 / sqrt(n) is passed by chance once in a million, what the guest adds moves it a little.
    distance = np.abs(np.searchsorted(expected, measured) / expected.size - (np.arange(FRAMES) + 0.5) / FRAMES).max()
    assert distance < 2.7 / math.sqrt(FRAMES) + 0.02, f"{distance:.3f}"


def test_conditions_are_put_in_place_and_found_in_place(tmp_path: Path) -> None:
    everything = LinkConditions(50_000_000, 20_000_000, 40_000, 3_000_000, 1_000_000, "pareto", 0.01, 0.02, 0.03, 0.04)
    with provisioned(tmp_path, UplinkSpec(), everything) as testbed:
        recap = testbed.provision()
        assert all(set(counts) == {"ok"} for counts in recap.values()), "what was set is not what is read back"


DRAINED = {
    "a full meter": LinkConditions(50_000_000, 3_200_000, latency_ns=2_500_000),
    "a meter that never fills": LinkConditions(10_000_000_000, latency_ns=2_500_000),
    "frames that overtake": LinkConditions(10_000_000_000, latency_ns=8_000_000, ipdv_ns=4_000_000, reordering=0.2),
}


@pytest.mark.parametrize("kind", DRAINED)
def test_drain_frames_stay_behind_everything_in_netem_and_its_meter(tmp_path: Path, kind: str) -> None:
    """As the controller does it: the frames are repeated, as the meter behind netem may drop one and nobody is told."""
    conditions = DRAINED[kind]
    with provisioned(tmp_path, UplinkSpec(), conditions) as testbed:
        fabric = testbed.fabric
        for repetition in range(5):
            fabric.steer("source")
            wires = {node: Wire(testbed, node) for node in ("loadgen", "echoserver", "source", "destination")}
            floods = [Flood(wires["loadgen"], INTERIOR, 0), Flood(wires["echoserver"], EXTERIOR, 1)]
            try:
                assert all(flood.started.wait(WAIT_S) for flood in floods)
                fabric.steer("destination")
                at = [flood.sent for flood in floods]
                for port_index in (0, 1):
                    fabric.inject_drain(port_index, repetition, TOKEN)
                for port_index in (0, 1):
                    time.sleep(0.01)
                    fabric.inject_drain(port_index, repetition, TOKEN)
            finally:
                for flood in floods:
                    flood.stop()
            while testbed.counters().qdisc("fabric", "source", "netem").backlog_packets:
                time.sleep(0.001)
            wires["loadgen"].send(datagram(NODE_MAC["source"], MARK))
            frames = wires["source"].receive_until_mark()
            is_drain = [frame[12:14] == b"\x88\xb5" for frame in frames]
            assert 2 <= sum(is_drain) <= 4
            assert all(is_drain[is_drain.index(True) :]), "a frame came after a drain frame"
            for stream in (0, 1):
                label = b"LOAD" + struct.pack(">I", stream)
                numbers = [struct.unpack(">I", frame[50:54])[0] for frame in frames if frame[42:50] == label]
                assert numbers
                assert max(numbers) <= at[stream], "a frame sent after the switchover took the path of before"
                for flow in range(FLOWS if conditions.ipdv_ns == 0 else 0):
                    of_flow = [number for number in numbers if number % FLOWS == flow]
                    assert of_flow == sorted(of_flow)
            for wire in wires.values():
                wire.close()


@pytest.mark.parametrize("direction", ["towards the instance", "from the instance"])
def test_the_meter_behind_netem_polices_at_its_rate(tmp_path: Path, direction: str) -> None:
    rate_bps = 20_000_000
    inward = direction == "towards the instance"
    place = ("fabric", "source") if inward else ("source", "up0")
    with provisioned(tmp_path, UplinkSpec(rate_bps=rate_bps, latency_ns=2_500_000)) as testbed:
        sender = sender_on(testbed, "loadgen" if inward else "source")
        data = bytes(datagram(INTERIOR if inward else NODE_MAC["loadgen"], bytes(1358)))
        offered, readings = 0, []
        for _ in range(2):  # the bucket is empty after the first
            until_ns = time.monotonic_ns() + 500_000_000
            while time.monotonic_ns() < until_ns:
                for _ in range(20):
                    sender.socket.send(data)  # netem takes it: no sender hears of what the meter drops later
                    offered += 1
            readings.append(testbed.counters())
        sender.close()
        meters = [reading.qdisc(*place) for reading in readings]
        elapsed_s = (readings[1].started_ns - readings[0].started_ns) / 1e9
        achieved_bps = (meters[1].sent_bytes - meters[0].sent_bytes) * 8 / elapsed_s
        assert achieved_bps == pytest.approx(rate_bps, rel=0.05)
        while testbed.counters().qdisc(*place, "netem").backlog_packets:
            time.sleep(0.001)
        last = testbed.counters()
        meter, netem = last.qdisc(*place), last.qdisc(*place, "netem")
        assert meter.dropped_packets > 0
        assert meter.sent_packets + meter.dropped_packets == offered, (
            "every frame passed the meter or was dropped there"
        )
        assert netem.dropped_packets == meter.dropped_packets, "netem counts its meter's drops, and lost none itself"


def test_a_change_of_rate_or_latency_drops_nothing_that_waits(tmp_path: Path) -> None:
    from harness.testbed.construction import link_task

    with provisioned(tmp_path, UplinkSpec(rate_bps=100_000_000, latency_ns=50_000_000)) as testbed:
        sender, receiver = sender_on(testbed, "loadgen"), Wire(testbed, "source")
        frames = [datagram(INTERIOR, struct.pack(">I", number)) for number in range(100)]
        for number, frame in enumerate(frames):
            sender.send(frame)
            if number == 50:
                changed = LinkConditions(50_000_000, latency_ns=60_000_000)
                task = link_task(testbed.topology, "netem", "source", "down", changed)
                index = {name: i for i, name in link_names(testbed).items()}["source"]
                testbed.connection.netlink(testbed.topology.netns("fabric")).transact(task.requests(index))
        sender.send(datagram(NODE_MAC["source"], MARK))
        assert receiver.receive_until_mark() == [bytes(frame) for frame in frames]
        sender.close()
        receiver.close()


def link_names(testbed: Testbed) -> dict[int, str]:
    links = testbed.connection.netlink(testbed.topology.netns("fabric")).dump(messages.links_dump())
    return {int(link["index"]): str(link.get_attr("IFLA_IFNAME")) for link in links}
