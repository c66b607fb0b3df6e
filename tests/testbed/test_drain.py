from __future__ import annotations

import pytest
from scapy.layers.l2 import Ether

from harness.testbed.conditions import LinkConditions
from harness.testbed.drain import drain_frame, overtaking_ns

TOKEN = bytes(range(16))


@pytest.mark.parametrize(("port_index", "mac"), [(0, "02:00:00:00:01:00"), (1, "02:00:00:00:01:01")])
def test_carries_port_sequence_and_token(port_index: int, mac: str) -> None:
    frame = drain_frame(port_index, 9, TOKEN)
    parsed = Ether(frame)
    assert (parsed.dst, parsed.src, parsed.type) == (mac, "02:00:00:00:02:01", 0x88B5)
    payload = bytes(parsed.payload)
    assert payload[:24] == b"DRAIN\x01" + bytes((port_index, 9)) + TOKEN
    assert len(frame) == 60
    assert not any(payload[24:])


@pytest.mark.parametrize("values", [(2, 0, TOKEN), (-1, 0, TOKEN), (0, 256, TOKEN), (0, -1, TOKEN), (0, 0, b"short")])
def test_refuses_values_that_do_not_fit(values: tuple[int, int, bytes]) -> None:
    with pytest.raises(ValueError, match=r"port index|sequence|token"):
        drain_frame(*values)


@pytest.mark.parametrize(
    ("ever", "hold_ns"),
    [
        ([LinkConditions(latency_ns=5_000)], 0),
        ([LinkConditions(latency_ns=5_000, loss=0.5, duplication=0.5, corruption=0.5)], 0),
        ([LinkConditions(latency_ns=5_000, rate_bps=1_000_000), LinkConditions(latency_ns=5_000)], 0),
        ([LinkConditions(latency_ns=5_000, reordering=0.1)], 5_000),
        ([LinkConditions(latency_ns=5_000, ipdv_ns=2_000)], 7_000),
        ([LinkConditions(latency_ns=5_000, ipdv_ns=2_000, ipdv_distribution="normal")], 13_000),
        ([LinkConditions(latency_ns=5_000), LinkConditions(latency_ns=1_000)], 5_000),
        ([LinkConditions(latency_ns=5_000), LinkConditions(latency_ns=4_000, ipdv_ns=3_000)], 7_000),
    ],
)
def test_a_drain_frame_waits_for_the_longest_delay_where_frames_overtake(
    ever: list[LinkConditions], hold_ns: int
) -> None:
    assert overtaking_ns(ever) == hold_ns
