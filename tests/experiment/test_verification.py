"""Traces of a real NAT instance, compared by the process that compares them in a run."""

from __future__ import annotations

import re
import shutil
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from harness.dataplane.instance import MODE_ACTIVE, UPDATES_OFF, Instance, InstanceSettings
from harness.dataplane.trace import RECORD_BYTES
from harness.experiment.processes import trace_path
from harness.experiment.verification import compare_with_reference
from harness.profile.images import known_images
from harness.vei.image import load_image
from harness.vei.state import InstanceState
from tests.experiment.conftest import ProfileFactory

DEADLINE_S = 20.0
VNF_MACS = ("02:00:00:00:01:00", "02:00:00:00:01:01")
OUTSIDE_MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
PACKETS = 60
FLOWS = 6


def frames() -> list[tuple[int, bytes]]:
    """(port, frame): both sides announce themselves, then requests of several flows from several hosts."""
    made = []
    for port, (address, own) in enumerate((("10.1.1.1", "10.1.0.1"), ("198.18.1.1", "198.18.0.1"))):
        reply = ARP(op=2, hwsrc=OUTSIDE_MACS[port], psrc=address, hwdst=VNF_MACS[port], pdst=own)
        made.append((port, bytes(Ether(src=OUTSIDE_MACS[port], dst=VNF_MACS[port]) / reply).ljust(60, b"\0")))
    for number in range(PACKETS):
        flow = number % FLOWS
        packet = IP(src=f"10.1.1.{1 + flow % 2}", dst="198.18.1.1") / UDP(sport=4000 + flow, dport=7)
        made.append((0, bytes(Ether(src=OUTSIDE_MACS[0], dst=VNF_MACS[0]) / packet / (b"x" * (20 + number)))))
    return made


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with source.trace and state.npz of a NAT that took `frames`."""
    folder = tmp_path_factory.mktemp("recorded")
    image = load_image(known_images()["nat"], {}, seed=5)
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in VNF_MACS]
    for _, inside in pairs:
        inside.setblocking(False)
    settings = InstanceSettings(scheduler="other", trace_path=trace_path(folder, "source"))
    instance = Instance(image, [inside for _, inside in pairs], settings)
    instance.start()
    try:
        instance.set_mode(MODE_ACTIVE)
        sent = [0, 0]
        deadline = time.monotonic() + DEADLINE_S
        for port, frame in frames():
            pairs[port][0].send(frame)
            sent[port] += 1
            # One at a time: the sockets keep the order of a port, not that between ports.
            while instance.status()["ports"][port]["rx_frames"] < sent[port]:
                assert time.monotonic() < deadline, instance.status()
        while sum(port["processed"] for port in instance.status()["ports"]) < len(frames()):
            assert time.monotonic() < deadline, instance.status()
        instance.freeze_and_announce(UPDATES_OFF)
        counts = InstanceState(image.tables).write_frozen(folder / "state.npz")
        instance.unfreeze()
    finally:
        instance.close()
        for outside, _ in pairs:
            outside.close()
    assert counts["mapping"] == FLOWS
    assert trace_path(folder, "source").stat().st_size >= RECORD_BYTES * len(frames())
    return folder


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(recorded, tmp_path / "run"))


def test_the_traces_of_both_instances_lead_to_the_state(folder: Path, make_profile: ProfileFactory) -> None:
    source, destination = (trace_path(folder, instance) for instance in ("source", "destination"))
    records = source.read_bytes()
    cut = RECORD_BYTES * 25
    source.write_bytes(records[:cut])
    destination.write_bytes(records[cut:])
    found = compare_with_reference(make_profile(), [source, destination], folder / "state.npz", [])
    assert found is not None
    assert found["equal"] is True, found["difference"]
    assert found["records"] == len(records) // RECORD_BYTES
    assert not source.exists(), "traces that agree are of no use any more"
    assert not destination.exists()


def test_a_packet_the_reference_took_and_the_vnf_did_not_is_a_difference(
    folder: Path, make_profile: ProfileFactory
) -> None:
    trace = trace_path(folder, "source")
    records = trace.read_bytes()
    trace.write_bytes(records + records[-RECORD_BYTES:])
    found = compare_with_reference(make_profile(), [trace_path(folder, "source")], folder / "state.npz", [])
    assert found is not None
    assert found["equal"] is False
    assert "table host" in found["difference"]
    assert trace.exists(), "what does not agree is kept to be looked at"


def test_a_state_without_a_mapping_is_a_difference(folder: Path, make_profile: ProfileFactory) -> None:
    with np.load(folder / "state.npz") as archive:
        tables = {name: archive[name] for name in archive.files}
    np.savez(folder / "changed.npz", **{**tables, "mapping": tables["mapping"][1:]})
    found = compare_with_reference(make_profile(), [trace_path(folder, "source")], folder / "changed.npz", [])
    assert found is not None
    assert found["equal"] is False
    assert found["difference"].startswith("table mapping: 1 entries missing or changed, 0 not expected")


@pytest.mark.parametrize("damage", ["cut", "missing", "state"])
def test_what_cannot_be_compared_is_doubt(folder: Path, make_profile: ProfileFactory, damage: str) -> None:
    trace, state = trace_path(folder, "source"), folder / "state.npz"
    if damage == "cut":
        trace.write_bytes(trace.read_bytes()[:-1])
    elif damage == "missing":
        trace.unlink()
    else:
        state.write_bytes(state.read_bytes()[:100])
    found = compare_with_reference(make_profile(), [trace_path(folder, "source")], state, [])
    assert found is not None
    assert found["equal"] is None
    assert re.match("cannot be compared: |the comparison did not finish: ", found["difference"])


def test_doubts_of_the_run_are_kept_whatever_would_come_out(folder: Path, make_profile: ProfileFactory) -> None:
    doubts = ["3 packets missing from the trace of the source", "2 packets with IPv4 options at the source"]
    found = compare_with_reference(make_profile(), [trace_path(folder, "source")], folder / "state.npz", doubts)
    assert found == {"equal": None, "difference": "; ".join(doubts)}
    without = compare_with_reference(make_profile(), [trace_path(folder, "source")], None, [])
    assert without == {"equal": None, "difference": "the state could not be read"}


def test_a_profile_may_leave_it_out(folder: Path, make_profile: ProfileFactory) -> None:
    profile = make_profile("dataplane.verify=false")
    assert compare_with_reference(profile, [trace_path(folder, "source")], folder / "state.npz", []) is None
