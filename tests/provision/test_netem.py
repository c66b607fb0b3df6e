"""Byte for byte what tc 6.1.0 of iproute2 was seen to send (strace), but for the sequence number."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from harness.distributions import quantile_table
from harness.provision.netem import netem_replace, netem_state
from harness.provision.tasks.qdisc import Netem, Tbf, read_qdiscs

_ROOT = 0xFFFFFFFF
_HEADER = "000000000100000000000100ffffffff000000000a0001006e6574656d000000"

SEEN = {
    # tc qdisc replace dev lo root handle 1: netem limit 100000 delay 2500us reorder 0% corrupt 0%
    Netem(2_500_000): "3400020096980000a08601000000000000000000000000000000000"
    "00c00030000000000000000000c0004000000000000000000",
    # ... delay 2500us 500us loss 0.1% duplicate 1% reorder 2% corrupt 0.5%
    Netem(
        2_500_000, ipdv_ns=500_000, loss=0.001, duplication=0.01, reordering=0.02, corruption=0.005
    ): "3400020096980000a08601003789410001000000295c8f02841e00000c00030052b81e05000000000c00040014ae470100000000",
}


@pytest.mark.parametrize("netem", SEEN, ids=["delay", "everything"])
def test_the_message_is_that_of_tc(netem: Netem) -> None:
    data = netem.request(1, _ROOT, 0x10000).data
    assert data[16:].hex() == _HEADER + SEEN[netem]
    length, kind, flags = struct.unpack_from("=IHH", data)
    assert (length, kind, flags) == (len(data), 0x24, 0x505)


def test_a_distribution_is_a_table_behind_the_other_attributes() -> None:
    # ... delay 10ms 1ms reorder 0% corrupt 0% distribution normal
    data = Netem(10_000_000, ipdv_ns=1_000_000, distribution="normal").request(1, _ROOT, 0x10000).data
    seen = "382002005a620200a0860100000000000000000000000000093d00000c00030000000000"
    seen += "000000000c00040000000000000000000420020000806d91"
    assert data[16:].hex().startswith(_HEADER + seen)
    assert (np.frombuffer(data[-8192:], np.int16) == quantile_table("normal")).all()


@pytest.mark.parametrize("probability", [0.0, 1e-9, 0.5, 1.0])
def test_a_probability_is_a_share_of_32_bits(probability: float) -> None:
    state = netem_state(0, limit_packets=1, loss=probability)
    assert state["loss"] == round(probability * 0xFFFFFFFF)


@pytest.mark.parametrize("netem", SEEN, ids=["delay", "everything"])
def test_what_the_kernel_tells_of_it_is_what_was_asked_for(netem: Netem) -> None:
    message = tcmsg(netem.request(7, _ROOT, 0x10000).data)
    message.decode()
    assert read_qdiscs([message], 7) == {_ROOT: {"kind": "netem", **netem.state()}}


def test_the_meter_keeps_its_handle_so_that_a_new_rate_changes_it_in_place() -> None:
    first, second = (Tbf(rate, 20_000, 65536).request(7, 0x10001, 0x20000).data for rate in (10**8, 10**7))
    assert first[:36] == second[:36]
    assert netem_replace(7, _ROOT, 0x10000, netem_state(1, limit_packets=1)).data[20:32] == struct.pack(
        "=iII", 7, 0x10000, _ROOT
    )
