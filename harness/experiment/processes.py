"""What the processes of a run are told: one configuration each, derived from the profile and the topology. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.experiment.latency_generator import GENERATOR_MODULE, generator_configuration
from harness.migration.tls import TlsParty
from harness.plan import PlannedRun
from harness.profile.capture import capture_configuration
from harness.profile.derived import frame_mix, load_duration_ns, mean_frame_bytes, requests_per_s
from harness.profile.images import known_images
from harness.profile.model import Profile
from harness.profile.quantities import MIN_FRAME_BYTES
from harness.testbed import topology as names
from harness.testbed.placement import LOCALHOST
from harness.testbed.testbed import ProcessSpec, Testbed

LATENCY = "latency"
"""The process that delays, whichever it is: the delay line's or the latency generator."""
CLIENT, SERVER = "client", "server"
PROGRAMS = (CLIENT, SERVER)
"""Of somebody else, in place of load generator and echoserver: nothing of them is judged."""
INSTANCE_MODULE = "harness.vei"
LOAD_MODULES = ("loadgen.echoserver_process", "loadgen.generator_process")
READY_TIMEOUT_S = 60.0
"""A cold compiler cache makes the first start slow; a warm one takes about a second."""
INTERIOR_ADDRESS, EXTERIOR_ADDRESS = names.VNF_ADDRESSES[names.LOADGEN], names.VNF_ADDRESSES[names.ECHOSERVER]
STATE_STREAM_SLOT_BYTES = 20_480
"""Slots of the latency element: one superframe (gso_max_size) and its headers."""

ELEMENT_DELAY_PACKETS = 8_192


@dataclass(frozen=True)
class Secrets:
    """Of one run, never written anywhere: the control protocol's key, what a drain packet must carry, and the seed of
    the tables' hash (who does not know it cannot choose flows that collide). parties: key pairs for TLS by node, the
    controller's among them; empty where the run does not encrypt."""

    key: bytes = field(repr=False)
    drain_token: bytes = field(repr=False)
    table_seed: int = field(default=0, repr=False)
    parties: Mapping[str, TlsParty] = field(default_factory=dict, repr=False)


def status_path(folder: Path, title: str, boot: int = 1) -> Path:
    """Status page of a process; `boot` counts those there have been in its place."""
    return folder / f"{_booted(title, boot)}.status"


def trace_path(folder: Path, instance: str, boot: int = 1) -> Path:
    """Packet trace of an instance."""
    return folder / f"{_booted(instance, boot)}.trace"


def _booted(title: str, boot: int) -> str:
    return title if boot == 1 else f"{title}-{boot}"


def _workload(profile: Profile, run: PlannedRun) -> dict[str, Any]:
    load = profile.load
    mix = frame_mix(profile)
    captured = load.workload == "capture"
    workload = {
        "rate_pps": max(1, requests_per_s(profile)),
        "duration_ns": load_duration_ns(profile),
        "flows": load.capture.flows if captured else load.flows,
        "frame_bytes": max(MIN_FRAME_BYTES, mean_frame_bytes(profile)),
        "frame_mix": mix if len(mix) > 1 else (),
        "new_flows_per_s": load.new_flows_per_s,
        "new_flow_packets": load.new_flow_packets,
        "server_packets_per_s": load.server_packets_per_s,
        "arrivals": load.arrivals,
        "on_ns": load.on_ns,
        "off_ns": load.off_ns,
        "seed": run.load_seed % (1 << 31),
    }
    if load.workload == "subscribers":
        behaviour = load.subscribers
        workload["subscribers"] = {
            "cells": behaviour.cells,
            "handover_mean_ns": behaviour.handover_mean_ns,
            "handover_distribution": behaviour.handover_distribution,
            "repeat_until_confirmed": behaviour.repeat_until_confirmed,
        }
    return workload


def load_specs(
    profile: Profile, testbed: Testbed, run: PlannedRun, folder: Path, log: Path, capture: Path | None = None
) -> list[ProcessSpec]:
    """The echoserver and the load generator. Their last links' latency is theirs where the testbed has a delay line.

    capture: where the generator finds the file of a captured load.
    """
    latency_ns = profile.uplink.latency_ns if testbed.backend == "delay_line" else 0
    common = {
        "run": run.number + 1,
        "workload": _workload(profile, run),
        "echo_addresses": [f"198.18.1.{i + 1}" for i in range(profile.load.echo_addresses)],
        "tick_ns": profile.dataplane.tick_ns,
        "scheduler": profile.dataplane.scheduler,
        "receive_buffer_bytes": profile.dataplane.receive_buffer_bytes,
    }
    echoserver = {
        **common,
        "run_directory": str(testbed.sites.path(names.ECHOSERVER, folder)),
        "status_path": str(testbed.sites.path(names.ECHOSERVER, status_path(folder, names.ECHOSERVER))),
        "interface": testbed.port_link(names.ECHOSERVER),
        "mac": names.NODE_MACS[names.ECHOSERVER],
        "gateway": EXTERIOR_ADDRESS,
        "latency_ns": latency_ns,
    }
    loadgen = {
        **common,
        "run_directory": str(testbed.sites.path(names.LOADGEN, folder)),
        "status_path": str(testbed.sites.path(names.LOADGEN, status_path(folder, names.LOADGEN))),
        "interface": testbed.port_link(names.LOADGEN),
        "mac": names.NODE_MACS[names.LOADGEN],
        "gateway": INTERIOR_ADDRESS,
        "hosts": [f"10.1.1.{i + 1}" for i in range(profile.load.hosts)],
        "extra_latency_ns": latency_ns,
        "drain_ns": profile.timing.wait_for_replies_ns,
    }
    if capture is not None:
        loadgen["capture"] = {**capture_configuration(profile), "path": str(capture)}
        echoserver["captured"] = True
    return [
        _spec(names.ECHOSERVER, names.ECHOSERVER, LOAD_MODULES[0], echoserver, log),
        _spec(names.LOADGEN, names.LOADGEN, LOAD_MODULES[1], loadgen, log),
    ]


def instance_specs(
    profile: Profile,
    testbed: Testbed,
    folder: Path,
    log: Path,
    secrets: Secrets,
    instances: Sequence[str],
    boot: int = 1,
    seed: int = 0,
) -> list[ProcessSpec]:
    """The VNF instances (with "none" for a mode there is only the source) and the process that delays: the delay
    line's, of the management traffic only, or the latency generator.

    boot: how many there will then have been; each has files of its own. seed: of what the latency generator draws.
    """
    specs = [_instance(profile, testbed, instance, folder, log, secrets, boot) for instance in instances]
    if testbed.backend == "delay_line" and profile.uplink.latency_ns:
        for title, nodes in delay_elements(testbed).items():
            specs.append(_latency_element(profile, testbed, title, nodes, folder, log, boot))
    if testbed.generator_nodes:
        configuration = generator_configuration(profile, testbed, seed, status_path(folder, LATENCY, boot))
        specs.append(_spec(names.FABRIC, LATENCY, GENERATOR_MODULE, configuration, log))
    return specs


def _instance(
    profile: Profile, testbed: Testbed, instance: str, folder: Path, log: Path, secrets: Secrets, boot: int
) -> ProcessSpec:
    dataplane, migration = profile.dataplane, profile.migration
    link, trace = testbed.port_link(instance), trace_path(folder, instance, boot)
    configuration: dict[str, Any] = {
        "image": profile.vnf.image,
        "image_directory": str(known_images()[profile.vnf.image]),
        "parameters": profile.vnf.parameters,
        "role": instance,
        "management_address": names.MANAGEMENT_ADDRESSES[instance],
        "control_port": 0,
        "secret": secrets.key.hex(),
        "tls": asdict(secrets.parties[instance]) if secrets.parties else None,
        "drain_token": secrets.drain_token.hex(),
        "table_seed": secrets.table_seed,
        "ports": [
            {"interface": link, "mac": names.VNF_INTERIOR_MAC, "arp_address": INTERIOR_ADDRESS},
            {"interface": link, "mac": names.VNF_EXTERIOR_MAC, "arp_address": EXTERIOR_ADDRESS},
        ],
        "latency_ns": profile.uplink.latency_ns if testbed.backend == "delay_line" else 0,
        "scheduler": dataplane.scheduler,
        "tick_ns": dataplane.tick_ns,
        "burst_packets": dataplane.burst_packets,
        "receive_buffer_bytes": dataplane.receive_buffer_bytes,
        "pkt_q_packets": migration.pkt_q_packets,
        "st_q_out_packets": migration.st_q_out_packets,
        "st_q_in_packets": migration.st_q_in_packets,
        "trace_path": str(testbed.sites.path(instance, trace)) if dataplane.verify else None,
        "status_path": str(testbed.sites.path(instance, status_path(folder, instance, boot))),
    }
    return _spec(instance, instance, INSTANCE_MODULE, configuration, log)


def delay_elements(testbed: Testbed) -> dict[str, tuple[str, ...]]:
    """With the delay line: instances whose management traffic a process delays, by its title. Each host has one."""
    placement = testbed.topology.placement
    elements: dict[str, tuple[str, ...]] = {}
    for instance in names.INSTANCES:
        host = placement.host_of(instance)
        title = LATENCY if host == LOCALHOST else f"{LATENCY}-{host}"
        elements[title] = (*elements.get(title, ()), instance)
    return elements


def _latency_element(
    profile: Profile, testbed: Testbed, title: str, nodes: Sequence[str], folder: Path, log: Path, boot: int
) -> ProcessSpec:
    """One process delays the management traffic of the instances of a host: a pair of ports for each."""
    ports: list[dict[str, Any]] = []
    for instance in nodes:
        netns = testbed.topology.netns(instance)
        ports += [
            {
                "netns": netns,
                "interface": names.UPLINK,
                "mac": names.MANAGEMENT_MACS[instance],
                "vnet_header": True,
            },
            {"netns": netns, "interface": names.MANAGEMENT_PEER, "mac": None, "vnet_header": True},
        ]
    # Of the fabric, or else of the first of the nodes.
    placement = testbed.topology.placement
    node = names.FABRIC if placement.host_of(names.FABRIC) == placement.host_of(nodes[0]) else nodes[0]
    configuration = {
        "image": LATENCY,
        "image_directory": str(known_images()[LATENCY]),
        "role": "element",
        "ports": ports,
        "latency_ns": profile.uplink.latency_ns,
        "scheduler": profile.dataplane.scheduler,
        "tick_ns": profile.dataplane.tick_ns,
        "slot_bytes": STATE_STREAM_SLOT_BYTES,
        "pkt_q_packets": 2,
        "delay_packets": ELEMENT_DELAY_PACKETS,
        "st_q_out_packets": 1,
        "status_path": str(testbed.sites.path(node, status_path(folder, title, boot))),
    }
    return _spec(node, title, INSTANCE_MODULE, configuration, log)


def _spec(node: str, title: str, module: str, configuration: dict[str, Any], log: Path) -> ProcessSpec:
    argv = [sys.executable, "-m", module]
    return ProcessSpec(node, title, argv, configuration, log / f"{title}.log", READY_TIMEOUT_S)
