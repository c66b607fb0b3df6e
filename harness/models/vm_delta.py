"""Lower bound for moving a VNF as a whole VM, by rounds of memory deltas (Fig. 7).

Model of Nobach et al., "Statelet-Based Efficient and Seamless NFV State Transfer", Section V-A. Of all that dirties
memory only the ring buffer of received packets counts: what the dataplane receives in one round is dirty in the next,
up to the size of the ring. Rounds t_i = m_i/(c - r), m_{i+1} = min(r t_i, ring).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.models.domain import (
    BoolArray,
    FloatArray,
    Grid,
    Values,
    array,
    below,
    check,
    masked,
    not_negative,
    positive,
    whole,
)


@dataclass(frozen=True)
class DeltaVm:
    """A VM, its ring buffer and its link. The paper prints all but the memory m_0; 1 GiB is assumed."""

    load_bps: Values = 500_000_000
    """r_DP, dataplane load."""
    capacity_bps: Values = 1_000_000_000
    """r_c, capacity of the link that load and state share."""
    memory_bytes: Values = 2**30
    """m_0, all memory of the VM."""
    ring_packets: Values = 65_536
    """c_mbuf, packets in the ring buffer."""
    buffer_bytes: Values = 1400
    """buf_sz, bytes of one buffer."""
    rounds: int = 10
    """Rounds of transfer; during the last one the VM is stopped."""


@dataclass(frozen=True)
class Rounds:
    """t_i of all rounds but the last, together, and the last; both in s. `paused`: without dataplane in the last."""

    before_s: FloatArray
    last_s: FloatArray
    paused_last_s: FloatArray
    valid: BoolArray


def downtime(vm: DeltaVm, *, paused: bool = False) -> Grid:
    """Duration in s of the last round (Fig. 7, top). paused: the dataplane is off in it (r_DP = 0)."""
    done = _rounds(vm)
    return masked(done.paused_last_s if paused else done.last_s, done.valid)


def migration_time(vm: DeltaVm, *, paused: bool = False) -> Grid:
    """Duration in s of all rounds (Fig. 7, bottom). paused: as in `downtime`."""
    done = _rounds(vm)
    return masked(done.before_s + (done.paused_last_s if paused else done.last_s), done.valid)


def ring_bits(vm: DeltaVm) -> Grid:
    """c_mbuf x buf_sz in bit: the most that one round can dirty."""
    packets, size = array(vm.ring_packets), array(vm.buffer_bytes)
    valid = check([not_negative(packets, "ring buffer c_mbuf in packets"), positive(size, "buffer buf_sz in bytes")])
    return masked(8 * packets * size, valid)


def wrap_load_bps(vm: DeltaVm) -> Grid:
    """Load in bit/s from which on the ring wraps in every round, so that rounds no longer get shorter: c/2.

    From r t = r m/(c - r) >= m. Below it every round dirties less than the one before.
    """
    capacity = array(vm.capacity_bps)
    return masked(capacity / 2, check([positive(capacity, "link capacity r_c in bit/s")]))


def _rounds(vm: DeltaVm) -> Rounds:
    load, capacity, memory = array(vm.load_bps), array(vm.capacity_bps), array(vm.memory_bytes)
    ring = ring_bits(vm)
    valid = ~np.ma.getmaskarray(ring) & check(
        [
            not_negative(load, "dataplane load r_DP in bit/s"),
            positive(capacity, "link capacity r_c in bit/s"),
            positive(memory, "memory m_0 in bytes"),
            whole(array(vm.rounds), "number of rounds"),
            below(load - capacity, 0, "r_DP - r_c in bit/s must be below 0 (nothing is left for the state transfer)"),
        ]
    )
    with np.errstate(all="ignore"):
        left = capacity - load
        dirty, before = 8 * memory, array(0.0)
        for _ in range(int(vm.rounds) - 1):
            duration = dirty / left
            before = before + duration
            dirty = np.minimum(load * duration, ring.data)
        return Rounds(before, dirty / left, dirty / capacity, valid)
