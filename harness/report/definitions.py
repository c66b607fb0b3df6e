"""What the words of the report mean, and where this testbed measures otherwise than the paper did."""

from __future__ import annotations

from harness.report.bootstrap import EXPLANATION
from harness.report.metrics import METRICS

DEFINITIONS: tuple[tuple[str, str], ...] = (
    (
        "offered load",
        "bits per second through the VNF, both directions together: 800M is 400 Mbit/s of requests and 400 Mbit/s of "
        "replies; frame sizes include the 42 header bytes",
    ),
    *((f"{metric.title} [{metric.unit}]", metric.meaning) for metric in METRICS.values()),
    ("± and bars", "half width of the 95 % Student t interval of the mean; one run has none. n is the number of runs"),
    ("BCa", EXPLANATION),
    (
        "p, δ",
        "two-sided Mann-Whitney test and Cliff's delta of duplication against statelet, FAILED runs included: δ = +1 "
        "when every value of duplication is larger. Few runs cannot give a small p, whatever they show",
    ),
    ("VALID", "the testbed carried the load and every promise that was checked holds"),
    ("FAILED", "the migration aborted or failed, or a promise is broken: a result, shown with and without"),
    (
        "INVALID",
        "the testbed could not carry the load, or something could not be checked: says nothing of the mechanism, is in "
        "no figure",
    ),
    ("control", "the same load without a migration: what it shows is the machine, not the mechanism"),
    ("Eq. 3, Eq. 2", "the model of the paper's Section V: duration of the migration, and whether it ends at all"),
    (
        "scale",
        "a scaled sweep runs with uplink, load, filler and queues multiplied by one factor; its axes show the loads of "
        "the unscaled experiment, packets and bytes are as measured",
    ),
)

DIFFERENCES: tuple[tuple[str, str], ...] = (
    (
        "failed runs are in the figures, and once more left out",
        "failed and overflowed runs are left out without a word",
    ),
    ("loss and RTT count from the intended send time", "from the time a packet was sent"),
    (
        "the snapshot is paced to the capacity the load leaves, unless the profile says otherwise",
        "snapshot and load share the link best effort",
    ),
    (
        "st_q_out running over aborts the migration before its commit; the source carries on",
        "statelets are lost without a word",
    ),
    (
        "statelets carry whole mappings; flows opened during the migration survive it",
        "statelets of new flows are cut short",
    ),
    ("the filler of the snapshot is incompressible", "zeroes"),
    ("namespaces of one machine, packets moved by AF_PACKET", "virtual machines, DPDK and a hardware switch"),
)
"""(here, in the paper)"""
