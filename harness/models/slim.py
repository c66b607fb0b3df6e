"""Migration by snapshot and statelets over a link shared with the dataplane: capacity, time, largest statelet factor.

Model of Nobach, Rimac, Hilt and Hausheer, "Statelet-Based Efficient and Seamless NFV State Transfer", Section V,
Equations 1-4. The VNF carries F_ab and F_ba between A and B. Path l joins the source to A and B, n the destination to
them, m lies between source and destination. The statelet factor sigma is the volume of the statelets over the volume of
the packets that cause them; sigma = 1 is packet duplication. The model knows neither latency nor TCP nor headers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.models.domain import (
    BoolArray,
    Condition,
    FloatArray,
    Grid,
    Values,
    array,
    check,
    masked,
    not_negative,
    positive,
)


@dataclass(frozen=True)
class SharedLink:
    """Paths, flows and the state to move; every field a scalar or an array. The defaults are those of Fig. 6."""

    capacity_l_bps: Values = 10_000_000_000
    """C_l, path between the source and the networks A and B."""
    capacity_m_bps: Values = 1_000_000_000
    """C_m, path that the state transfer shares with the flow from A to B."""
    capacity_n_bps: Values = 10_000_000_000
    """C_n, path between the destination and the networks."""
    load_ab_bps: Values = 300_000_000
    """F_ab."""
    load_ba_bps: Values = 300_000_000
    """F_ba."""
    snapshot_bytes: Values = 20_000_000
    """S."""
    local_s: Values = 0.3
    """T_B, local time for taking and installing the snapshot."""


def remaining_capacity_bps(link: SharedLink) -> Grid:
    """C_rem in bit/s, Eq. 1: min(C_l - F_ab - F_ba, C_m - F_ab, C_n). Negative: the load alone exceeds a path."""
    return masked(_remaining(link), check(_conditions(link)))


def feasible(link: SharedLink, statelet_factor: Values) -> Grid:
    """1 where Eq. 2 holds, sigma (F_ab + F_ba) < C_rem, and the migration ends; 0 where statelets pile up for ever."""
    sigma = array(statelet_factor)
    valid = check([*_conditions(link), not_negative(sigma, "statelet factor sigma")])
    with np.errstate(all="ignore"):
        return masked((sigma * _load(link) < _remaining(link)).astype(float), valid)


def migration_time(link: SharedLink, statelet_factor: Values) -> Grid:
    """T_all in s, Eq. 3: T_B + S/(C_rem - sigma (F_ab + F_ba)). Masked, or UsageError, where Eq. 2 does not hold."""
    sigma = array(statelet_factor)
    with np.errstate(all="ignore"):
        left = _remaining(link) - sigma * _load(link)
        valid = check([*_conditions(link), not_negative(sigma, "statelet factor sigma"), _left_over(left)])
        return masked(array(link.local_s) + 8 * array(link.snapshot_bytes) / left, valid)


def largest_statelet_factor(link: SharedLink, migration_s: Values) -> Grid:
    """Bound on sigma, Eq. 4 (Fig. 6): (C_rem - S/(T_all - T_B))/(F_ab + F_ba), for a total migration time in s.

    Infinity asks for any finite time. Masked, or UsageError, where the capacity is too small for the snapshot alone.
    """
    load = _load(link)
    with np.errstate(all="ignore"):
        remaining = _remaining(link)
        spare = remaining - snapshot_rate_bps(link, migration_s).data
        # The end of a curve of Fig. 6, but for the last digits of the difference.
        spare = np.where(np.abs(spare) <= 1e-12 * np.abs(remaining), 0.0, spare)
        valid = check(
            [
                *_conditions(link),
                _longer(link, migration_s),
                positive(load, "load F_ab + F_ba in bit/s"),
                Condition(
                    spare >= 0,
                    spare,
                    "the capacity left after the snapshot, C_rem - S/(T_all - T_B) in bit/s, must not be below 0",
                ),
            ]
        )
        return masked(spare / load, valid)


def snapshot_rate_bps(link: SharedLink, migration_s: Values) -> Grid:
    """S/(T_all - T_B) in bit/s: what the snapshot needs to arrive in time."""
    valid = check([*_conditions(link), _longer(link, migration_s)])
    with np.errstate(all="ignore"):
        return masked(8 * array(link.snapshot_bytes) / (array(migration_s) - array(link.local_s)), valid)


def largest_load_bps(link: SharedLink, statelet_factor: Values, migration_s: Values) -> Grid:
    """Largest F = F_ab = F_ba in bit/s at which a migration ends within `migration_s`: Eq. 1 and 4 solved for F.

    The curves of Fig. 6 read from the other axis, sigma = 0 where they meet the x axis. Loads of `link` do not count.
    """
    sigma = array(statelet_factor)
    valid = check([*_conditions(link), not_negative(sigma, "statelet factor sigma"), _longer(link, migration_s)])
    with np.errstate(all="ignore"):
        need = snapshot_rate_bps(link, migration_s).data
        by_l = (array(link.capacity_l_bps) - need) / (2 + 2 * sigma)
        by_m = (array(link.capacity_m_bps) - need) / (1 + 2 * sigma)
        spare_n = array(link.capacity_n_bps) - need
        by_n = np.where(sigma > 0, spare_n / (2 * sigma), np.where(spare_n >= 0, np.inf, -np.inf))
        largest = np.minimum(np.minimum(by_l, by_m), by_n)
        fits = Condition(
            largest >= 0,
            largest,
            "the largest load F in bit/s must not be below 0 (a path is too small for the snapshot)",
        )
        return masked(largest, valid & check([fits]))


def _conditions(link: SharedLink) -> list[Condition]:
    return [
        positive(array(link.capacity_l_bps), "capacity C_l in bit/s"),
        positive(array(link.capacity_m_bps), "capacity C_m in bit/s"),
        positive(array(link.capacity_n_bps), "capacity C_n in bit/s"),
        not_negative(array(link.load_ab_bps), "load F_ab in bit/s"),
        not_negative(array(link.load_ba_bps), "load F_ba in bit/s"),
        not_negative(array(link.snapshot_bytes), "snapshot size S in bytes"),
        not_negative(array(link.local_s), "local time T_B in s"),
    ]


def _longer(link: SharedLink, migration_s: Values) -> Condition:
    total = array(migration_s)
    with np.errstate(all="ignore"):
        holds = total > array(link.local_s)
    return Condition(holds, total, "total migration time T_all in s must be above T_B, the local time")


def _left_over(left: FloatArray) -> Condition:
    text = "the state must keep up: C_rem - sigma (F_ab + F_ba) in bit/s must be above 0 (Eq. 2)"
    holds: BoolArray = left > 0
    return Condition(holds, left, text)


def _load(link: SharedLink) -> FloatArray:
    return array(link.load_ab_bps) + array(link.load_ba_bps)


def _remaining(link: SharedLink) -> FloatArray:
    through_l = array(link.capacity_l_bps) - _load(link)
    through_m = array(link.capacity_m_bps) - array(link.load_ab_bps)
    return np.minimum(np.minimum(through_l, through_m), array(link.capacity_n_bps))
