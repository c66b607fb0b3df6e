"""Load generator and echoserver as the harness starts them, in two namespaces joined by a veth pair (no VNF)."""

from __future__ import annotations

import json
import os
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.measure.packets import load_packet_records
from loadgen.configuration import ProcessConfiguration

ROOT = Path(__file__).resolve().parents[2]
LOADGEN_MAC, ECHOSERVER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
ECHO_ADDRESSES = ["198.18.1.1", "198.18.1.2", "198.18.1.3", "198.18.1.4"]
HOSTS = ["10.1.1.1", "10.1.1.2", "10.1.1.3", "10.1.1.4"]
START_AHEAD_NS = 200_000_000
DEADLINE_S = 90


class Process:
    """One process under the contract: JSON in, events out, and its end."""

    def __init__(self, module: str, namespace: str, configuration: dict[str, Any], log: Path) -> None:
        from pyroute2 import netns

        self.log = log
        self._pending = b""
        netns.pushns(namespace)
        try:
            with log.open("wb") as errors:
                self.popen = subprocess.Popen(
                    [sys.executable, "-m", module],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    bufsize=0,
                )
        finally:
            netns.popns()
        self.send(configuration)

    def send(self, message: dict[str, Any]) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps(message).encode() + b"\n")

    def event(self, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        assert self.popen.stdout is not None
        end = time.monotonic() + deadline_s
        while b"\n" not in self._pending:
            left = end - time.monotonic()
            assert left > 0, f"no event within {deadline_s} s; log: {self.log.read_text()}"
            if select.select([self.popen.stdout], [], [], left)[0]:
                data = os.read(self.popen.stdout.fileno(), 65536)
                assert data, f"ended without an event; log: {self.log.read_text()}"
                self._pending += data
        line, self._pending = self._pending.split(b"\n", 1)
        event: dict[str, Any] = json.loads(line)
        return event

    def expect(self, name: str) -> dict[str, Any]:
        event = self.event()
        assert event["event"] == name, (event, self.log.read_text())
        return event

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(10)
        for stream in (self.popen.stdin, self.popen.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    """Two namespaces whose `up0` are the ends of one veth pair, without addresses, IPv6 off."""
    from pyroute2 import NetNS, netns

    token = "t" + secrets.token_hex(4)[:7]
    names = (f"{token}-loadgen", f"{token}-echoserver")
    created = []
    try:
        for name in names:
            netns.create(name)
            created.append(name)
            netns.pushns(name)
            try:
                Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
            except FileNotFoundError:
                pass  # a kernel without IPv6 has nothing to switch off
            finally:
                netns.popns()
        with NetNS(names[0]) as first:
            first.link("add", ifname="up0", kind="veth", address=LOADGEN_MAC, peer={"ifname": "peer0"})
            peer = first.link_lookup(ifname="peer0")[0]
            first.link("set", index=peer, net_ns_fd=names[1])
            first.link("set", index=first.link_lookup(ifname="up0")[0], state="up")
        with NetNS(names[1]) as second:
            index = second.link_lookup(ifname="peer0")[0]
            second.link("set", index=index, ifname="up0", address=ECHOSERVER_MAC)
            second.link("set", index=index, state="up")
        yield names
    finally:
        for name in created:
            netns.remove(name)


class Pair:
    """Generator and echoserver joined directly: each resolves the other in place of the VNF, by real ARP."""

    def __init__(self, namespaces: tuple[str, str], tmp_path: Path, workload: dict[str, Any], **extra: Any) -> None:
        self.directory = tmp_path
        common = {
            "run": 4711,
            "run_directory": str(tmp_path),
            "interface": "up0",
            "workload": workload,
            "echo_addresses": ECHO_ADDRESSES,
            "scheduler": extra.pop("scheduler", "other"),
        }
        echoserver = {
            **common,
            "status_path": str(tmp_path / "echoserver.status"),
            "mac": ECHOSERVER_MAC,
            "gateway": HOSTS[0],
            "answered_addresses": ["10.1.0.1"],
            "latency_ns": extra.pop("latency_ns", 0),
        }
        generator = {
            **common,
            "status_path": str(tmp_path / "loadgen.status"),
            "mac": LOADGEN_MAC,
            "gateway": "10.1.0.1",
            "hosts": HOSTS,
            "drain_ns": 300_000_000,
            **extra,
        }
        self.processes: list[Process] = []
        try:
            for module, namespace, configuration in (
                ("loadgen.generator_process", namespaces[0], generator),
                ("loadgen.echoserver_process", namespaces[1], echoserver),
            ):
                log = tmp_path / f"{module}.log"
                self.processes.append(Process(module, namespace, configuration, log))
        except BaseException:
            self.close()
            raise
        self.generator, self.echoserver = self.processes

    def run(self) -> None:
        """The whole load, to the end of both processes."""
        self.ready = self.generator.expect("ready"), self.echoserver.expect("ready")
        start_ns = time.monotonic_ns() + START_AHEAD_NS
        for process in (self.echoserver, self.generator):
            process.send({"cmd": "start", "start_ns": start_ns})
        self.generator.expect("done")
        self.echoserver.send({"cmd": "stop"})
        self.echoserver.expect("done")
        assert [process.popen.wait(10) for process in self.processes] == [0, 0]
        self.start_ns = start_ns
        self.load = np.load(self.directory / "loadgen.npz")
        self.echo = np.load(self.directory / "echoserver.npz")
        self.load_report = json.loads((self.directory / "loadgen.json").read_text())
        self.echo_report = json.loads((self.directory / "echoserver.json").read_text())

    def close(self) -> None:
        for process in self.processes:
            process.close()


@pytest.fixture
def start_pair(namespaces: tuple[str, str], tmp_path: Path) -> Iterator[Any]:
    pairs: list[Pair] = []

    def start(workload: dict[str, Any], **extra: Any) -> Pair:
        pairs.append(Pair(namespaces, tmp_path, workload, **extra))
        return pairs[-1]

    yield start
    for pair in pairs:
        pair.close()


WORKLOAD = {
    "rate_pps": 5_000,
    "duration_ns": 1_000_000_000,
    "flows": 128,
    "frame_bytes": 512,
    "new_flows_per_s": 50,
    "new_flow_packets": 4,
    "server_packets_per_s": 500,
    "seed": 1,
}


def test_constant_rate_arrives_completely_and_all_counters_add_up(start_pair: Any) -> None:
    pair = start_pair(WORKLOAD)
    pair.run()
    load, echo, report = pair.load, pair.echo, pair.load_report
    assert load["intended_ns"].size == 5_000
    np.testing.assert_array_equal(load["intended_ns"], pair.start_ns + np.arange(5_000) * 200_000)
    assert np.all(load["sent_ns"] >= load["intended_ns"])
    assert np.all(load["received_ns"] > load["sent_ns"])
    assert not load["duplicates"].any()
    assert not load["flow_reordered"].any()
    assert np.all(load["frame_bytes"] == 512)
    assert report["sent_packets"] == report["echo_replies_packets"] == 5_000
    assert report["unsent_packets"] == report["kernel_dropped_packets"] == 0
    assert report["send_lateness_ns"]["maximum"] == int((load["sent_ns"] - load["intended_ns"]).max())

    flows = load["flow_reordered"].size
    assert flows == 128 + 50 == echo["flow_packets"].size
    np.testing.assert_array_equal(echo["flow_packets"], np.bincount(load["flow"], minlength=flows))
    hosts = np.array([0x0A010101, 0x0A010102, 0x0A010103, 0x0A010104])
    np.testing.assert_array_equal(echo["flow_external_ip"], hosts[np.arange(flows) % 4])
    np.testing.assert_array_equal(echo["flow_external_port"], 10_000 + np.arange(flows) // 4)
    assert not echo["flow_mapping_changes"].any()

    assert echo["server_sent_ns"].size == load["server_received_ns"].size == 400
    assert np.all(echo["server_sent_ns"] >= echo["server_intended_ns"])
    assert np.all(load["server_received_ns"] > echo["server_sent_ns"])
    assert np.unique(echo["server_flow"]).size > 64
    assert not load["server_duplicates"].any()

    for counters, parts in (
        (
            report,
            "echo_replies_packets echo_duplicates_packets server_received_packets server_duplicates_packets "
            "arp_packets malformed_packets foreign_packets bad_checksum_packets misdirected_packets",
        ),
        (
            pair.echo_report,
            "echoed_packets tx_failed_packets arp_packets malformed_packets foreign_packets bad_checksum_packets "
            "misdirected_packets unprocessed_frames",
        ),
    ):
        assert counters["received_frames"] == sum(counters[name] for name in parts.split())
        for name in ("malformed_packets", "foreign_packets", "bad_checksum_packets", "misdirected_packets"):
            assert counters[name] == 0, name
    assert pair.echo_report["echoed_packets"] == 5_000
    assert pair.ready[0]["gateway_mac"] == ECHOSERVER_MAC
    assert pair.ready[1]["gateway_mac"] == LOADGEN_MAC
    for counters in (report, pair.echo_report):
        assert counters["peak_memory_bytes"] < 250_000_000

    names = pair.ready[0]["status"]
    page = np.fromfile(pair.directory / "loadgen.status", np.int64)
    assert page[names["sent_packets"]] == page[names["received_packets"]] == page[names["due_packets"]] == 5_000
    assert page[names["lost_packets_estimate"]] == page[names["pending_frames"]] == 0
    assert page[names["server_packets"]] == 400
    assert 9 <= page[names["slot_index"]] <= 13
    assert page[names["phase"]] == 3


def test_delay_line_and_remaining_latency_make_the_round_trip(start_pair: Any) -> None:
    pair = start_pair(WORKLOAD, latency_ns=2_500_000, extra_latency_ns=2_500_000, scheduler="auto")
    pair.run()
    assert np.all(pair.load["received_ns"] > 0)
    rtt_ns = pair.load["received_ns"] - pair.load["intended_ns"]
    assert rtt_ns.min() >= 5_000_000 - ProcessConfiguration.model_fields["tick_ns"].default // 2
    # Either of them counted twice would make at least 7.5 ms.
    assert np.median(rtt_ns) < 7_400_000
    assert pair.echo_report["delay_line_frames_maximum"] >= 10


def test_cells_are_recorded_and_without_a_gateway_all_are_wrong_but_cell_0(start_pair: Any) -> None:
    behaviour = {"cells": 8, "handover_mean_ns": 300_000_000, "repeat_until_confirmed": True}
    mix = [[74, 7], [590, 4], [1514, 1]]
    pair = start_pair({**WORKLOAD, "subscribers": behaviour, "arrivals": "poisson", "frame_mix": mix})
    pair.run()
    load = pair.load
    assert np.all(load["received_ns"] > 0)
    assert np.all(load["server_received_ns"] > 0)
    assert set(np.unique(load["frame_bytes"]).tolist()) == {74, 590, 1514}
    # The echoserver clears the tag: 0 comes back for every cell, and confirms none but cell 0.
    assert not load["reply_cell"].any()
    assert not load["server_cell"].any()
    assert np.all(load["announced"] | (load["cell"] == 0))
    records = load_packet_records(pair.directory / "loadgen.npz", pair.directory / "echoserver.npz")
    # Nobody is excused who was in a cell for longer than the grace, and still was when the reply came.
    settled = np.zeros(load["cell"].size, np.bool_)
    for flow in range(128):
        before, this, after = (np.flatnonzero(load["flow"] == flow)[k : k - 2 or None] for k in range(3))
        stayed = load["cell"][this] == load["cell"][before]
        stayed &= load["sent_ns"][this] - load["sent_ns"][before] > 7_500_000
        settled[this] = stayed & (load["received_ns"][this] < load["sent_ns"][after])
    assert settled.sum() > 500
    np.testing.assert_array_equal(records.wrong_cell[settled], load["cell"][settled] != 0)


def test_stop_ends_the_load_and_leaves_the_rest_unsent(start_pair: Any) -> None:
    pair = start_pair({**WORKLOAD, "duration_ns": 600_000_000_000, "rate_pps": 1_000, "server_packets_per_s": 0})
    names = pair.generator.expect("ready")["status"]
    pair.echoserver.expect("ready")
    pair.generator.send({"cmd": "start", "start_ns": time.monotonic_ns() + START_AHEAD_NS})
    page = np.memmap(pair.directory / "loadgen.status", np.int64, "r")
    end = time.monotonic() + 20
    while page[names["slot_index"]] < 1:
        assert time.monotonic() < end
        select.select([], [], [], 0.01)
    # The pace of the last complete 100 ms, however late this test was to look.
    assert 1 <= page[names["slot_received_packets"]] <= page[names["received_packets"]]
    assert page[names["slot_rtt_max_ns"]] * page[names["slot_received_packets"]] >= page[names["slot_rtt_sum_ns"]] > 0
    pair.generator.send({"cmd": "stop"})
    pair.generator.expect("done")
    report = json.loads((pair.directory / "loadgen.json").read_text())
    arrays = np.load(pair.directory / "loadgen.npz")
    sent = int(np.count_nonzero(arrays["sent_ns"]))
    assert 100 <= sent == report["sent_packets"] < 600_000
    assert report["unsent_packets"] == 600_000 - sent
    assert arrays["intended_ns"].size == 600_000


def test_end_of_input_ends_the_process_at_once(start_pair: Any) -> None:
    pair = start_pair(WORKLOAD)
    for process in pair.processes:
        process.expect("ready")
    for process in pair.processes:
        process.popen.stdin.close()
        assert process.popen.wait(5) == 1
    assert not (pair.directory / "loadgen.npz").exists()


def test_start_in_the_past_is_refused_and_a_later_one_still_works(start_pair: Any) -> None:
    pair = start_pair({**WORKLOAD, "duration_ns": 50_000_000})
    pair.generator.expect("ready")
    for message, part in (
        ({"cmd": "start", "start_ns": 1}, "start_ns"),
        ({"cmd": "start", "start_ns": "soon"}, "start_ns"),
        ({"cmd": "dance"}, "dance"),
        ({}, "unknown"),
    ):
        pair.generator.send(message)
        assert part in pair.generator.expect("error")["message"]
    pair.generator.send({"cmd": "start", "start_ns": time.monotonic_ns() + START_AHEAD_NS})
    pair.generator.expect("done")


def test_unanswered_gateway_is_one_error_event(start_pair: Any) -> None:
    pair = start_pair(WORKLOAD, gateway="10.1.0.9", arp_deadline_ns=200_000_000)
    message = pair.generator.expect("error")["message"]
    assert "10.1.0.9" in message
    assert "4 of 4" in message
    assert pair.generator.popen.wait(10) == 1


def test_wrong_configuration_is_one_error_event_with_the_key(start_pair: Any) -> None:
    pair = start_pair(WORKLOAD, drain_s=3)
    assert "drain_s" in pair.generator.expect("error")["message"]
    assert pair.generator.popen.wait(10) == 2


def test_missing_interface_is_a_machine_error(start_pair: Any) -> None:
    pair = start_pair(WORKLOAD, interface="nowhere0")
    assert "nowhere0" in pair.generator.expect("error")["message"]
    assert pair.generator.popen.wait(10) == 4
