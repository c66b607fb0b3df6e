from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from harness.measure.packets import PacketRecords

MS = 1_000_000
START_NS = 5_000 * MS

RecordsFactory = Callable[..., PacketRecords]


def make_records(
    rtts_ms: Sequence[float | None],
    *,
    spacing_ms: float = 1.0,
    flow: Sequence[int] | None = None,
    flows: int = 2,
    unsent: Sequence[int] = (),
    frame_bytes: int = 512,
    server_delays_ms: Sequence[float | None] = (),
    server_unsent: Sequence[int] = (),
    duplicates: Sequence[int] | None = None,
    **replaced: np.ndarray,
) -> PacketRecords:
    """Packets `spacing_ms` apart from START_NS, with the given RTT (None: lost)."""

    def column(delays: Sequence[float | None], without: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        intended = START_NS + np.round(np.arange(len(delays)) * spacing_ms * MS).astype(np.int64)
        sent = intended + 1000
        sent[list(without)] = 0
        received = np.array(
            [0 if delay is None else int(due) + round(delay * MS) for due, delay in zip(intended, delays, strict=True)],
            dtype=np.int64,
        )
        return intended, sent, received

    intended, sent, received = column(rtts_ms, unsent)
    server_intended, server_sent, server_received = column(server_delays_ms, server_unsent)
    n, m = len(rtts_ms), len(server_delays_ms)
    arrays = {
        "intended_ns": intended,
        "sent_ns": sent,
        "received_ns": received,
        "flow": np.array(flow if flow is not None else [i % flows for i in range(n)], dtype=np.uint32),
        "frame_bytes": np.full(n, frame_bytes, dtype=np.uint16),
        "duplicates": np.array(duplicates if duplicates is not None else [0] * n, dtype=np.uint16),
        "flow_reordered": np.zeros(flows, dtype=np.uint32),
        "server_received_ns": server_received,
        "server_duplicates": np.zeros(m, dtype=np.uint16),
        "flow_external_ip": np.full(flows, 0xC6120001, dtype=np.uint32),
        "flow_external_port": np.arange(1024, 1024 + flows, dtype=np.uint16),
        "flow_mapping_changes": np.zeros(flows, dtype=np.uint32),
        "flow_packets": np.full(flows, 10, dtype=np.uint64),
        "server_sent_ns": server_sent,
        "server_intended_ns": server_intended,
        "server_flow": np.zeros(m, dtype=np.uint32),
    }
    return PacketRecords(**{**arrays, **replaced})


@pytest.fixture(scope="session")
def records() -> RecordsFactory:
    return make_records
