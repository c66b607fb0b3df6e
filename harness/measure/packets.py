"""What load generator and echoserver recorded of every packet, checked before anything is computed from it."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import RunFailed
from harness.measure.cells import HANDOVER_GRACE_NS, BoolArray, CellRecords, announcements, in_wrong_cell

MAX_UNPACKED_BYTES = 4 << 30
"""A record larger than this is refused unread: 50 bytes a packet allow 80 million packets, days above a run's."""
EARLY_TOLERANCE_NS = 1_000_000
"""A burst may leave a little before its last packet is due; a reply earlier than that contradicts the clock."""
MAX_RUN_NS = 24 * 3600 * 1_000_000_000
"""Times further apart than a day are not of one run; a series over them would fill the memory."""
MIN_FRAME_BYTES = 42

_UNREADABLE: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    RuntimeError,
    OverflowError,
    MemoryError,
    SyntaxError,
)
_UNREADABLE += (zipfile.BadZipFile, zlib.error)
"""What NumPy and zipfile raise for bytes that are not an archive of arrays."""

Int64Array = npt.NDArray[np.int64]

_LOADGEN: dict[str, tuple[str, str]] = {
    "intended_ns": ("int64", "N"),
    "sent_ns": ("int64", "N"),
    "received_ns": ("int64", "N"),
    "flow": ("uint32", "N"),
    "frame_bytes": ("uint16", "N"),
    "duplicates": ("uint16", "N"),
    "flow_reordered": ("uint32", "F"),
    "server_received_ns": ("int64", "M"),
    "server_duplicates": ("uint16", "M"),
}
_ECHOSERVER: dict[str, tuple[str, str]] = {
    "flow_external_ip": ("uint32", "F"),
    "flow_external_port": ("uint16", "F"),
    "flow_mapping_changes": ("uint32", "F"),
    "flow_packets": ("uint64", "F"),
    "server_sent_ns": ("int64", "M"),
    "server_intended_ns": ("int64", "M"),
    "server_flow": ("uint32", "M"),
}
_PROTOCOLS: dict[str, tuple[str, str]] = {"flow_protocol": ("uint8", "F")}
_CELLS: dict[str, tuple[str, str]] = {
    "cell": ("uint16", "N"),
    "announced": ("bool", "N"),
    "reply_cell": ("uint16", "N"),
    "server_cell": ("uint16", "M"),
}


@dataclass(frozen=True, eq=False)
class PacketRecords:
    """One entry per echo request (N), server-originated packet (M) and flow (F); CLOCK_MONOTONIC ns, 0 = never.

    `received_ns` is the arrival of the echo reply with what was left of the link's latency; RTT is counted from
    `intended_ns`. `cells`: where the flows are subscribers; what arrived in a wrong cell (harness.measure.cells, with
    `handover_grace_ns`) is lost, so that figures are made from `delivered_ns`. Construction checks shapes, types and
    consistency: RunFailed names the array and the first bad index.
    """

    intended_ns: Int64Array
    sent_ns: Int64Array
    received_ns: Int64Array
    flow: npt.NDArray[np.uint32]
    frame_bytes: npt.NDArray[np.uint16]
    duplicates: npt.NDArray[np.uint16]
    flow_reordered: npt.NDArray[np.uint32]
    server_received_ns: Int64Array
    server_duplicates: npt.NDArray[np.uint16]
    flow_external_ip: npt.NDArray[np.uint32]
    flow_external_port: npt.NDArray[np.uint16]
    flow_mapping_changes: npt.NDArray[np.uint32]
    flow_packets: npt.NDArray[np.uint64]
    server_sent_ns: Int64Array
    server_intended_ns: Int64Array
    server_flow: npt.NDArray[np.uint32]
    cells: CellRecords | None = None
    handover_grace_ns: int = HANDOVER_GRACE_NS
    flow_protocol: npt.NDArray[np.uint8] | None = None
    """IPv4 protocol of each flow where they differ; all UDP where it is None."""

    def __post_init__(self) -> None:
        sizes: dict[str, tuple[int, str]] = {}
        expected = {**_LOADGEN, **_ECHOSERVER, **(_CELLS if self.cells else {})}
        if self.flow_protocol is not None:
            expected |= _PROTOCOLS
        for name, (dtype, axis) in expected.items():
            array = getattr(self.cells if name in _CELLS else self, name)
            if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype != np.dtype(dtype):
                got = f"{array.dtype}{list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
                raise RunFailed(f"packet records: {name} must be {dtype}[{axis}], is {got}")
            size, first = sizes.setdefault(axis, (array.size, name))
            if array.size != size:
                raise RunFailed(f"packet records: {name} has {array.size} entries, {first} has {size}")
        _check_times("", self.intended_ns, self.sent_ns, self.received_ns)
        _check_times("server_", self.server_intended_ns, self.server_sent_ns, self.server_received_ns)
        _check_span(self)
        _refuse("flow", self.flow >= self.flows, f"flow number not below {self.flows}")
        _refuse("server_flow", self.server_flow >= self.flows, f"flow number not below {self.flows}")
        _refuse("frame_bytes", self.frame_bytes < MIN_FRAME_BYTES, f"below the {MIN_FRAME_BYTES} header bytes")
        _refuse("duplicates", (self.duplicates > 0) & (self.received_ns == 0), "a duplicate of a packet never received")
        _refuse(
            "server_duplicates",
            (self.server_duplicates > 0) & (self.server_received_ns == 0),
            "a duplicate of a packet never received",
        )

    @property
    def packets(self) -> int:
        """N, the echo requests intended."""
        return int(self.intended_ns.size)

    @property
    def server_packets(self) -> int:
        """M, the server-originated packets intended."""
        return int(self.server_intended_ns.size)

    @property
    def flows(self) -> int:
        """F."""
        return int(self.flow_reordered.size)

    @cached_property
    def wrong_cell(self) -> BoolArray:
        """bool[N]: replies that arrived in a wrong cell."""
        if self.cells is None:
            return np.zeros(self.packets, np.bool_)
        known = announcements(self.flow, self.sent_ns, self.cells.cell, self.cells.announced)
        return in_wrong_cell(known, self.flow, self.received_ns, self.cells.reply_cell, self.handover_grace_ns)

    @cached_property
    def server_wrong_cell(self) -> BoolArray:
        """bool[M]: server-originated packets that arrived in a wrong cell."""
        if self.cells is None:
            return np.zeros(self.server_packets, np.bool_)
        known = announcements(self.flow, self.sent_ns, self.cells.cell, self.cells.announced)
        cell, grace_ns = self.cells.server_cell, self.handover_grace_ns
        return in_wrong_cell(known, self.server_flow, self.server_received_ns, cell, grace_ns)

    @cached_property
    def delivered_ns(self) -> Int64Array:
        """int64[N]: arrival of the replies that count, 0 for those that never came or came in a wrong cell."""
        return np.where(self.wrong_cell, 0, self.received_ns)

    @cached_property
    def server_delivered_ns(self) -> Int64Array:
        """int64[M]: the same of server-originated packets."""
        return np.where(self.server_wrong_cell, 0, self.server_received_ns)


def _refuse(name: str, bad: npt.NDArray[np.bool_], why: str) -> None:
    if bad.any():
        raise RunFailed(f"packet records: {name}[{int(np.argmax(bad))}]: {why}")


def _check_times(prefix: str, intended_ns: Int64Array, sent_ns: Int64Array, received_ns: Int64Array) -> None:
    _refuse(f"{prefix}intended_ns", intended_ns <= 0, "not a time")
    _refuse(f"{prefix}sent_ns", sent_ns < 0, "negative time")
    _refuse(f"{prefix}received_ns", received_ns < 0, "negative time")
    _refuse(f"{prefix}received_ns", (received_ns > 0) & (sent_ns == 0), "received, but never sent")
    early = (received_ns > 0) & (received_ns - intended_ns < -EARLY_TOLERANCE_NS)
    _refuse(f"{prefix}received_ns", early, "received before it was due to be sent")


def _check_span(records: PacketRecords) -> None:
    known = [a[a > 0] for a in (records.intended_ns, records.received_ns, records.server_intended_ns)]
    known.append(records.server_received_ns[records.server_received_ns > 0])
    known = [times for times in known if times.size]
    if known and max(int(t.max()) for t in known) - min(int(t.min()) for t in known) > MAX_RUN_NS:
        raise RunFailed("packet records: times more than a day apart are not of one run")


def load_packet_records(loadgen: Path, echoserver: Path, handover_grace_ns: int = HANDOVER_GRACE_NS) -> PacketRecords:
    """Read `loadgen.npz` and `echoserver.npz`. RunFailed: missing, truncated, oversized or inconsistent.

    Where cells were recorded, packets in a wrong cell are lost, with a grace of `handover_grace_ns`.
    """
    arrays = {**_read(loadgen, _LOADGEN, (_CELLS, _PROTOCOLS)), **_read(echoserver, _ECHOSERVER)}
    of_cells = {name: arrays.pop(name) for name in _CELLS if name in arrays}
    cells = CellRecords(**of_cells) if of_cells else None
    return PacketRecords(**arrays, cells=cells, handover_grace_ns=handover_grace_ns)


def _read(
    path: Path, expected: dict[str, tuple[str, str]], optional: tuple[dict[str, tuple[str, str]], ...] = ()
) -> dict[str, Any]:
    """The arrays by name; those of each group of `optional` are all there or none is."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise RunFailed(f"{path}: {unpacked} bytes unpacked, more than the {MAX_UNPACKED_BYTES} a run may hold")
        with np.load(path, allow_pickle=False) as data:
            for group in optional:
                if any(name in data.files for name in group):
                    expected = {**expected, **group}
            missing = [name for name in expected if name not in data.files]
            if missing:
                raise RunFailed(f"{path}: no array {missing[0]!r}; was it written by another version?")
            return {name: data[name] for name in expected}
    except FileNotFoundError as error:
        raise RunFailed(f"{path}: not there; its process ended before it wrote its packet records") from error
    except _UNREADABLE as error:
        raise RunFailed(f"{path}: not readable as packet records ({type(error).__name__}: {error})") from error
