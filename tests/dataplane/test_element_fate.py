"""What becomes of frames, decided without a clock: seeds, shares, order, counters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from harness.dataplane.element import state as at
from harness.dataplane.element.counters import read_directions
from harness.dataplane.element.element import DirectionConditions, Element, ElementSettings
from harness.dataplane.element.state import TABLE_ENTRIES, TABLE_SCALE, ElementState
from tests.dataplane.element_driver import admit_frames, take_frames

INTERIOR, EXTERIOR, STRANGER = "02:00:00:00:01:00", "02:00:00:00:01:01", "02:00:00:00:00:01"
LATENCY_NS, STEP_NS = 2_500_000, 10_000
NORMAL = [round(NormalDist().inv_cdf((i + 0.5) / TABLE_ENTRIES) * TABLE_SCALE) for i in range(TABLE_ENTRIES)]
DOWN, UP = 0, 1


def ipv4(destination: str, source: str = STRANGER) -> bytes:
    return bytes(Ether(dst=destination, src=source) / IP(dst="198.18.1.1") / UDP(dport=7)).ljust(60, b"\0")


def drain() -> bytes:
    return bytes(Ether(dst=INTERIOR, type=0x88B5) / b"DRAIN").ljust(60, b"\0")


class Direction:
    """One direction of an element without sockets: frames are admitted at given times and taken out in order."""

    def __init__(
        self, *conditions: DirectionConditions, seed: int = 7, queue_packets: int = 20_000, port: int = DOWN
    ) -> None:
        settings = ElementSettings(
            seed=seed, counted_addresses=[(INTERIOR, EXTERIOR)], queue_packets=queue_packets, burst_packets=8
        )
        self.element = Element([Socketless(), Socketless()], settings)  # type: ignore[list-item]
        self.state: ElementState = self.element._state
        self.port = port
        for each in conditions:
            self.element.set_conditions(port, each)
        self.slot_names = np.zeros(len(self.state.lengths), np.int64)
        self.slots = self.state.free_top[0]

    def admit(self, name: int, arrival_ns: int, frame: bytes = b"") -> None:
        """One frame."""
        self.admit_all([name], [arrival_ns], frame)

    def admit_all(self, names: Sequence[int], arrivals_ns: Sequence[int], frame: bytes = b"") -> None:
        """Frames that are alike, in this order."""
        data = np.frombuffer(frame or ipv4(INTERIOR), np.uint8)
        moments = np.array(arrivals_ns, np.int64)
        admit_frames(self.state, self.port, np.array(names, np.int64), moments, data, self.slot_names)

    def take(self) -> list[tuple[int, int]]:
        """(name, when it matures) of all that waits, in order; its slots are free again."""
        taken = np.zeros((2 * self.slots, 2), np.int64)
        count = take_frames(self.state, self.port, self.slot_names, taken)
        return [(name, mature_ns) for name, mature_ns in taken[:count].tolist()]

    def pass_on(self, count: int, frame: bytes = b"") -> list[tuple[int, int]]:
        """Frames 0 to `count`, one every STEP_NS; the delays of those that were kept, by name, in order of leaving."""
        self.admit_all(range(count), range(0, count * STEP_NS, STEP_NS), frame)
        return [(name, mature_ns - name * STEP_NS) for name, mature_ns in self.take()]

    def counted(self, name: str, kind: int = 0) -> int:
        counters = read_directions(self.state.status, 2)[self.port][name]
        return int(counters[kind]) if isinstance(counters, tuple) else int(counters)


class Socketless:
    """In the place of a socket that nothing is received from."""

    def fileno(self) -> int:
        return 0

    def getsockopt(self, *_: object) -> bytes:
        raise OSError

    def close(self) -> None:
        pass


def within(found: int, of: int, probability: float) -> bool:
    """Five standard deviations of the binomial distribution: once in two million seeds beyond."""
    return abs(found - of * probability) <= 5 * math.sqrt(of * probability * (1 - probability))


def test_constant_latency_delays_every_frame_by_it_and_keeps_the_order() -> None:
    direction = Direction(DirectionConditions(latency_ns=LATENCY_NS))
    assert direction.pass_on(1000) == [(name, LATENCY_NS) for name in range(1000)]
    assert direction.counted("received") == 1000
    assert direction.counted("depth_max") == 1000
    assert direction.state.free_top[0] == direction.slots


def test_frames_that_arrive_at_once_keep_their_order() -> None:
    direction = Direction(DirectionConditions(latency_ns=LATENCY_NS, ipdv_ns=400_000))
    for name in range(3):
        direction.admit(name, 0)
    direction.element.set_conditions(DOWN, DirectionConditions(latency_ns=1))
    for name in range(3, 30):
        direction.admit(name, 10)
    assert [name for name, _ in direction.take()][:27] == list(range(3, 30))


def test_a_smaller_latency_overtakes_what_waits_already() -> None:
    direction = Direction(DirectionConditions(latency_ns=LATENCY_NS))
    direction.admit(0, 0)
    direction.element.set_conditions(DOWN, DirectionConditions(latency_ns=1000))
    direction.admit(1, 10)
    assert direction.take() == [(1, 1010), (0, LATENCY_NS)]


def test_the_same_seed_and_order_mean_the_same_fate_of_every_frame() -> None:
    conditions = DirectionConditions(LATENCY_NS, 900_000, NORMAL, loss=0.1, duplication=0.1, reordering=0.1)
    first, again, other = (Direction(conditions, seed=seed).pass_on(2000) for seed in (7, 7, 8))
    assert first == again != other


def test_the_fate_of_the_load_does_not_depend_on_what_else_is_on_the_link() -> None:
    conditions = DirectionConditions(LATENCY_NS, 900_000, loss=0.1, duplication=0.1, reordering=0.1)
    alone = Direction(conditions).pass_on(500)
    shared = Direction(conditions)
    for name in range(500):
        shared.admit(name, name * STEP_NS)
        for frame in (ipv4(EXTERIOR), ipv4(STRANGER), bytes(14)):
            shared.admit(1000 + name, name * STEP_NS, frame)
    assert [(name, at_ns - name * STEP_NS) for name, at_ns in shared.take() if name < 1000] == alone


def test_the_directions_draw_apart() -> None:
    conditions = DirectionConditions(loss=0.5)
    down, up = (Direction(conditions, port=port) for port in (DOWN, UP))
    frame = ipv4(STRANGER, STRANGER)  # of the same class in both
    assert down.pass_on(200, frame) != up.pass_on(200, frame)


def test_uniform_variation_is_flat_between_its_bounds() -> None:
    width_ns = 1_000_000
    kept = Direction(DirectionConditions(LATENCY_NS, width_ns)).pass_on(20_000)
    delays = np.array([delay for _, delay in kept], float)
    assert abs(delays - LATENCY_NS).max() <= width_ns
    assert abs(delays.mean() - LATENCY_NS) < 5 * width_ns / math.sqrt(3 * len(delays))
    assert delays.std() == pytest.approx(width_ns / math.sqrt(3), rel=0.02)
    counts = np.histogram(delays, bins=10, range=(LATENCY_NS - width_ns, LATENCY_NS + width_ns))[0]
    assert all(within(count, len(delays), 0.1) for count in counts)


def test_tabulated_variation_has_the_moments_of_its_table() -> None:
    deviation_ns = 400_000
    kept = Direction(DirectionConditions(LATENCY_NS, deviation_ns, NORMAL)).pass_on(20_000)
    delays = np.array([delay for _, delay in kept], float)
    assert abs(delays.mean() - LATENCY_NS) < 5 * deviation_ns / math.sqrt(len(delays))
    assert delays.std() == pytest.approx(deviation_ns, rel=0.03)
    assert within(int(np.count_nonzero(delays > LATENCY_NS + deviation_ns)), len(delays), 1 - NormalDist().cdf(1))


def test_no_delay_is_negative() -> None:
    kept = Direction(DirectionConditions(100_000, 400_000)).pass_on(2000)
    delays = [delay for _, delay in kept]
    assert min(delays) == 0
    assert delays.count(0) > 500


def test_variation_reorders_but_what_matures_first_leaves_first() -> None:
    direction = Direction(DirectionConditions(LATENCY_NS, 500_000))
    direction.admit_all(range(5000), range(0, 5000 * STEP_NS, STEP_NS))
    taken = direction.take()
    moments = [mature_ns for _, mature_ns in taken]
    assert moments == sorted(moments)
    assert [name for name, _ in taken] != sorted(name for name, _ in taken)
    assert sorted(name for name, _ in taken) == list(range(5000))


@pytest.mark.parametrize("loss", [0.01, 0.5])
def test_loss_takes_its_share_and_counts_it(loss: float) -> None:
    direction = Direction(DirectionConditions(LATENCY_NS, loss=loss))
    kept = direction.pass_on(20_000)
    assert within(20_000 - len(kept), 20_000, loss)
    assert direction.counted("impaired") == 20_000 - len(kept)
    assert direction.state.free_top[0] == direction.slots


@pytest.mark.parametrize(("probability", "kept"), [(0.0, 100), (1.0, 0)])
def test_a_probability_of_0_or_1_leaves_nothing_to_chance(probability: float, kept: int) -> None:
    assert len(Direction(DirectionConditions(loss=probability)).pass_on(100)) == kept
    assert len(Direction(DirectionConditions(duplication=probability)).pass_on(100)) == 200 - kept


def test_duplicates_are_delayed_and_lost_by_themselves() -> None:
    direction = Direction(DirectionConditions(LATENCY_NS, 900_000, loss=0.2, duplication=0.3))
    kept = direction.pass_on(10_000)
    duplicated, lost = direction.counted("duplicated"), direction.counted("impaired")
    assert within(duplicated, 10_000, 0.3)
    assert within(lost, 10_000 + duplicated, 0.2)
    assert len(kept) == 10_000 + duplicated - lost
    delays: dict[int, list[int]] = {}
    for name, delay in kept:
        delays.setdefault(name, []).append(delay)
    pairs = [pair for pair in delays.values() if len(pair) == 2]
    assert within(len(pairs), duplicated, 0.8 * 0.8)
    assert all(first != second for first, second in pairs)
    assert direction.state.free_top[0] == direction.slots


def test_only_frames_that_skip_the_delay_are_reordered() -> None:
    direction = Direction(DirectionConditions(LATENCY_NS, reordering=0.05))
    kept = direction.pass_on(10_000)
    skipped = [name for name, delay in kept if delay == 0]
    assert {delay for _, delay in kept} == {0, LATENCY_NS}
    assert within(len(skipped), 10_000, 0.05)
    assert direction.counted("reordered") == len(skipped)
    others = [name for name, delay in kept if delay]
    assert others == sorted(others)


def test_a_full_queue_refuses_and_counts() -> None:
    direction = Direction(DirectionConditions(LATENCY_NS, duplication=1.0), queue_packets=100)
    kept = direction.pass_on(130)
    assert len(kept) == 100
    assert direction.counted("received") == direction.counted("duplicated") == 130
    assert direction.counted("refused") == 160
    assert direction.state.free_top[0] == direction.slots


def test_a_drain_frame_is_behind_all_that_came_before_it_and_meets_nothing_else() -> None:
    """Whatever the conditions: not lost, duplicated, reordered nor refused, and nothing before it left after it."""
    wild = DirectionConditions(LATENCY_NS, 2_400_000, NORMAL, loss=0.5, duplication=0.5, reordering=0.3)
    for seed in range(20):
        direction = Direction(wild, seed=seed, queue_packets=200)
        direction.admit_all(range(300), range(0, 300 * STEP_NS, STEP_NS))
        direction.admit(1000, 300 * STEP_NS, drain())
        direction.admit_all(range(301, 330), range(301 * STEP_NS, 330 * STEP_NS, STEP_NS))
        names = [name for name, _ in direction.take()]
        assert names.count(1000) == 1
        assert all(name > 300 for name in names[names.index(1000) + 1 :])
        assert direction.counted("drain") == 1


def test_classes_follow_the_nodes_address_by_direction() -> None:
    for port in (DOWN, UP):
        direction = Direction(port=port)
        for number, frame in enumerate(
            [
                *(ipv4(address, STRANGER) if port == DOWN else ipv4(STRANGER, address) for address in [INTERIOR] * 3),
                *(ipv4(address, STRANGER) if port == DOWN else ipv4(STRANGER, address) for address in [EXTERIOR] * 2),
                *(ipv4(STRANGER, INTERIOR) if port == DOWN else ipv4(INTERIOR, STRANGER) for _ in range(4)),
                bytes(Ether(dst=INTERIOR, src=INTERIOR, type=0x0806)).ljust(60, b"\0"),
                b"short",
            ]
        ):
            direction.admit(number, 0, frame)
        assert [direction.counted("received", kind) for kind in range(at.CLASSES)] == [3, 2, 6]


@pytest.mark.parametrize(
    "values",
    [{"latency_ns": -1}, {"loss": 1.5}, {"duplication": float("nan")}, {"ipdv_table": [0] * 7}, {"reordering": -0.1}],
)
def test_conditions_that_mean_nothing_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"latency|probability|entries"):
        DirectionConditions(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 1, 3, 14])
def test_an_element_has_two_ports_a_link(count: int) -> None:
    with pytest.raises(ValueError, match="even number"):
        Element([Socketless()] * count, ElementSettings(seed=0))  # type: ignore[list-item]
