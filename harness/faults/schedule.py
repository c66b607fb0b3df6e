"""Schedules of faults: what shall go wrong, and when. Pure: the same seed gives the same schedule everywhere."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.migration.phases import ControllerPhase
from harness.units import format_size, format_time

PROCESSES = ("source", "destination", "loadgen", "echoserver", "latency")
STREAMS = ("statelet_stream", "snapshot_stream")
NODES = ("source", "destination")
ACTIONS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(PROCESSES, ("kill", "stop")),
    "management": ("cut",),
    **dict.fromkeys(STREAMS, ("corrupt", "truncate", "stop")),
    "disk": ("fill",),
}
"""What can be done to each target."""
TARGETS = tuple(ACTIONS)
LASTING = ("stop", "cut", "fill")
"""Actions that are over after a time; the others cannot be undone."""
BY_BYTES = ("corrupt", "truncate", "stop")
"""Actions on a stream that begin at a byte of it."""

_P = ControllerPhase
PHASES_BEFORE = (_P.PREPARE, _P.CONNECT, _P.ANNOUNCE, _P.SNAPSHOT, _P.RESYNCHRONISE, _P.COMMIT)
PHASES_AFTER = (_P.SWITCHOVER, _P.DRAIN, _P.CLOSE, _P.DRAIN_PKT_Q, _P.COMPLETED)
PHASES = PHASES_BEFORE + PHASES_AFTER
"""Phases of the controller a fault may wait for; those of an abort are not among them."""
PHASE_NAMES = tuple(phase.value for phase in PHASES)

_MS = 1_000_000
_LONGEST_DELAY_NS = 30 * _MS
_SHORTEST_NS, _LONGEST_NS = 50 * _MS, 700 * _MS
_SECOND_FAULT = 0.2
_WEIGHTS: Mapping[str, int] = {
    "source": 5,
    "destination": 6,
    "loadgen": 2,
    "echoserver": 2,
    "latency": 3,
    "management": 4,
    "statelet_stream": 4,
    "snapshot_stream": 4,
    "disk": 2,
}
_STATELET_STREAM_BYTES = 40_000
"""A fault's byte of the statelet stream is drawn below this: some faults lie beyond the end of a short stream."""


@dataclass(frozen=True)
class Fault:
    """One fault. It begins `delay_ns` after the controller first reaches `phase`, or `at_ns` after the start of the
    measured window; exactly one of the two is given.

    for_ns: how long a LASTING one lasts. node: whose management network is cut. A stream is corrupted (one bit of byte
    `offset_bytes`), cut off or held up when that many bytes of it have passed since the fault began.
    """

    target: str
    action: str
    phase: ControllerPhase | None = None
    delay_ns: int = 0
    at_ns: int | None = None
    for_ns: int = 0
    node: str = "destination"
    offset_bytes: int = 0
    bit: int = 0

    @property
    def when(self) -> str:
        """The name of its phase, "at" for a time."""
        return self.phase.value if self.phase is not None else "at"

    @property
    def is_before_switchover(self) -> bool:
        """Whether its phase is one in which everything can still be taken back."""
        return self.phase in PHASES_BEFORE

    def describe(self) -> str:
        """One line without the word fault."""
        what = f"{self.action} {self.target}"
        if self.target == "management":
            what += f" of the {self.node}"
        if self.target in STREAMS:
            what += f" after {format_size(self.offset_bytes)}"
            what += f", bit {self.bit}" if self.action == "corrupt" else ""
        if self.action in LASTING:
            what += f" for {format_time(self.for_ns, 3)}"
        if self.phase is None:
            return f"{what} at s+{format_time(self.at_ns or 0, 3)}"
        delay = f" + {format_time(self.delay_ns, 3)}" if self.delay_ns else ""
        return f"{what} at {self.phase.value}{delay}"


def problems(fault: Fault) -> Iterator[tuple[str, str]]:
    """(key, message) of everything in a fault that contradicts itself."""
    if fault.action not in ACTIONS[fault.target]:
        possible = " or ".join(ACTIONS[fault.target])
        yield "action", f"{fault.action!r} cannot be done to {fault.target!r}; there is {possible}"
        return
    if (fault.phase is None) == (fault.at_ns is None):
        yield "phase", "give either a phase or a time (at), and not both"
    if fault.at_ns is not None and fault.delay_ns:
        yield "delay", "counts from a phase; with a time (at) there is none"
    if fault.action in LASTING and not fault.for_ns:
        yield "for", f"how long does {fault.action!r} last?"
    if fault.action not in LASTING and fault.for_ns:
        yield "for", f"{fault.action!r} cannot be undone, so it does not last"
    if fault.target not in STREAMS and (fault.offset_bytes or fault.bit):
        yield "offset", f"{fault.target!r} is not a stream"


def generate(seed: int, snapshot_bytes: int = 1 << 20, migrate_at_ns: int = 0) -> tuple[Fault, ...]:
    """One fault, or two in a fifth of the schedules, at any phase, of any kind.

    snapshot_bytes: about what the snapshot stream carries; migrate_at_ns: when the migration begins (at = ...).
    """
    chance = random.Random(f"faults {seed}")
    count = 2 if chance.random() < _SECOND_FAULT else 1
    return tuple(_one(chance, snapshot_bytes, migrate_at_ns) for _ in range(count))


def _one(chance: random.Random, snapshot_bytes: int, migrate_at_ns: int) -> Fault:
    target = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    action = chance.choice(ACTIONS[target])
    phase: ControllerPhase | None = chance.choice(PHASES)
    delay_ns = chance.randrange(_LONGEST_DELAY_NS) if chance.random() < 0.5 else 0
    at_ns = None
    if target in STREAMS:
        # Both are counted from the beginning of the stream, whose bytes are what the choice of a phase is elsewhere.
        phase, delay_ns = _P.PREPARE, 0
    elif chance.random() < 0.1:
        phase, delay_ns, at_ns = None, 0, migrate_at_ns + chance.randrange(400 * _MS)
    extent = snapshot_bytes if target == "snapshot_stream" else _STATELET_STREAM_BYTES
    # As many in the first kilobytes, where authentication and headers are, as in all the rest.
    reach = chance.choice((200, 4_000, extent, extent))
    return Fault(
        target=target,
        action=action,
        phase=phase,
        delay_ns=delay_ns,
        at_ns=at_ns,
        for_ns=chance.randrange(_SHORTEST_NS, _LONGEST_NS) if action in LASTING else 0,
        node=chance.choice(NODES),
        offset_bytes=chance.randrange(min(reach, extent)) if target in STREAMS else 0,
        bit=chance.randrange(8) if action == "corrupt" else 0,
    )
