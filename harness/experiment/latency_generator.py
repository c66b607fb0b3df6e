"""The latency generator of a run: what its process is told, at its start and while frames flow."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, ClassVar

from harness.errors import HarnessError, UsageError
from harness.profile.derived import requests_per_s
from harness.profile.model import Profile
from harness.testbed import topology as names
from harness.testbed.conditions import DIRECTIONS, Direction, LinkConditions
from harness.testbed.testbed import StartedProcess, Testbed

GENERATOR_MODULE = "harness.latency_generator"
SLOT_BYTES = 20_480
"""One superframe (gso_max_size) and its headers."""
QUEUE_PACKETS_MIN, QUEUE_PACKETS_MAX = 16_384, 262_144
ANSWER_WITHIN_S = 2.0
_TAIL_DEVIATIONS = 4
"""So many standard deviations the longest delay lies above the latency (harness.distributions)."""


def counted_addresses(node: str) -> list[str]:
    """Addresses of a node whose IPv4 frames are packets of the load: of an instance, interior first."""
    return list(names.VNF_MACS) if node in names.INSTANCES else [names.NODE_MACS[node]]


def generator_configuration(profile: Profile, testbed: Testbed, seed: int, status: Path) -> dict[str, Any]:
    """First line of the process's standard input. UsageError for conditions that it cannot bring about."""
    topology = testbed.topology
    links: list[dict[str, Any]] = []
    for node in testbed.generator_nodes:
        netns = topology.netns(node)
        outer = {"netns": netns, "interface": names.UPLINK, "mac": None, "vnet_header": True}
        inner = {"netns": netns, "interface": names.INNER_PEER, "mac": None, "vnet_header": True}
        link = {"node": node, "outer": outer, "inner": inner, "counted_addresses": counted_addresses(node)}
        ways: dict[str, Any] = {way: conditions_document(topology.conditions[node, way]) for way in DIRECTIONS}
        links.append(link | ways)
    return {
        "links": links,
        "seed": seed,
        "scheduler": profile.dataplane.scheduler,
        "tick_ns": profile.dataplane.tick_ns,
        "burst_packets": profile.dataplane.burst_packets,
        "receive_buffer_bytes": profile.dataplane.receive_buffer_bytes,
        "slot_bytes": SLOT_BYTES,
        "queue_packets": queue_packets(profile, testbed),
        "status_path": str(status),
    }


def queue_packets(profile: Profile, testbed: Testbed) -> int:
    """Room for twice what the load can have under way on a link at its longest delay, within reason."""
    longest_ns = max(
        conditions.latency_ns + _TAIL_DEVIATIONS * conditions.ipdv_ns
        for ever in testbed.topology.ever.values()
        for conditions in ever
    )
    both_ways_pps = 2 * (requests_per_s(profile) + profile.load.server_packets_per_s)
    wanted = 2 * int(both_ways_pps * longest_ns / 1e9)
    return min(max(wanted, QUEUE_PACKETS_MIN), QUEUE_PACKETS_MAX)


def conditions_document(conditions: LinkConditions) -> dict[str, Any]:
    """What the generator is told of one direction; meters are the kernel's. UsageError for corruption."""
    if conditions.corruption:
        raise UsageError("corruption: the latency generator corrupts no frame; leave it out or use netem")
    return {
        "latency_ns": conditions.latency_ns,
        "ipdv_ns": conditions.ipdv_ns,
        "ipdv_distribution": conditions.ipdv_distribution,
        "loss": conditions.loss,
        "duplication": conditions.duplication,
        "reordering": conditions.reordering,
    }


class LatencyGenerator:
    """The running process, for one caller at a time."""

    _numbers: ClassVar = itertools.count(1)

    def __init__(self, started: StartedProcess) -> None:
        self._process = started.process

    def set_conditions(self, node: str, direction: Direction, conditions: LinkConditions) -> int:
        """Have the frames of one direction of a node's link meet `conditions` from now on (latency, IPDV, loss,
        duplication, reordering); returns since when, CLOCK_MONOTONIC ns.

        Taken between two passes of the generator's loop; frames that wait already keep their moment. HarnessError
        where the generator does not stand at the node or does not answer, UsageError for corruption.
        """
        command = {
            "command": "conditions",
            "number": next(self._numbers),
            "node": node,
            "direction": direction,
            "conditions": conditions_document(conditions),
        }
        self._process.send(command)
        while True:  # an answer that came too late for an earlier call may still be on its way
            answer = self._process.wait_event("conditions", ANSWER_WITHIN_S)
            if answer.get("number") == command["number"]:
                break
        applied_ns = answer.get("applied_ns")
        if not isinstance(applied_ns, int):
            raise HarnessError(f"latency generator: answered {answer} to a change of conditions")
        return applied_ns
