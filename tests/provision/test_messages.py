from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.provision import messages
from harness.provision.netlink import attributes


def test_a_forwarding_entry_is_static_and_not_local_to_the_bridge() -> None:
    data = messages.fdb_replace("02:00:00:00:01:00", 7).data
    family, index, state, flags = struct.unpack_from("=B3xiHB", data, 16)
    assert (family, index) == (7, 7)
    assert state == 0x40, "NUD_PERMANENT would deliver the frames to the bridge itself"
    assert flags == 0x04, "only the bridge, not the port itself, shall hold the entry"
    assert dict(attributes(data, 28))[2] == bytes.fromhex("020000000100")


def test_port_flags_go_in_one_nested_attribute() -> None:
    data = messages.port_set(3, {"bcast_flood": True, "learning": False}).data
    (family, index) = struct.unpack_from("=B3xi", data, 16)
    assert (family, index) == (7, 3)
    ((kind, nested),) = attributes(data, 32)
    assert kind == 12
    assert dict(attributes(nested, 0)) == {30: b"\x01", 8: b"\x00"}


@pytest.mark.parametrize("rate_bps", [1_000_000, 100_000_000, 1_000_000_000, 30_000_000_000])
def test_the_meter_keeps_rate_burst_and_limit(rate_bps: int) -> None:
    burst = rate_bps // 400
    parameters = dict(messages.tbf_options(rate_bps, burst, 65536)["attrs"])["TCA_TBF_PARMS"]
    assert parameters["rate"] * 8 == rate_bps
    assert parameters["limit"] == 65536
    assert messages.ns_of_ticks(parameters["buffer"]) == pytest.approx(20_000_000, rel=1e-4)


@given(st.integers(0, 4_000_000_000))
def test_ticks_keep_a_duration_to_half_a_tick(duration_ns: int) -> None:
    tick_ns = messages.ns_of_ticks(1000) / 1000
    assert abs(messages.ns_of_ticks(messages.ticks_of_ns(duration_ns)) - duration_ns) <= tick_ns / 2 + 1
