"""Links that change while real frames cross them: what is asked for happens, is counted, and is put back."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import DeadlineExceeded
from harness.provision import messages
from harness.provision.facts import kernel_features
from harness.testbed import topology as names
from harness.testbed.changes import LinkChanges
from harness.testbed.conditions import LaterConditions, LinkConditions
from harness.testbed.testbed import Testbed
from harness.testbed.topology import Topology
from tests.system.conftest import Cli, Machine

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.timeout(240),  # the first run may wait for the compiler
]

MS = 1_000_000
SLOW = LinkConditions(rate_bps=10_000_000, burst_ns=20 * MS)
UP = ("source", "up")


# -- the links alone --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def testbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    later = (LaterConditions("impairment[0]", *UP, SLOW), LaterConditions("impairment[1]", "loadgen", "up", SLOW))
    topology = Topology(
        f"t{secrets.token_hex(4)[:7]}", latency_backend="none", later=later, flapping=frozenset({"loadgen"})
    )
    with Testbed(topology, state_directory=tmp_path_factory.mktemp("state")) as made:
        yield made


@pytest.fixture
def links(testbed: Testbed) -> Iterator[LinkChanges]:
    made = testbed.link_changes()
    yield made
    assert made.restore() == ()
    results = testbed.provision()
    assert {node for node, counts in results.items() if counts.get("changed")} == set(), "not as it was"


def meter(testbed: Testbed, node: str, link: str) -> dict[str, int]:
    found = testbed.connection.netlink(testbed.topology.netns(node)).dump(messages.qdiscs_dump())
    index = {
        item.get_attr("IFLA_IFNAME"): item["index"]
        for item in testbed.connection.netlink(testbed.topology.netns(node)).dump(messages.links_dump())
    }[link]
    (options,) = [
        item.get_attr("TCA_OPTIONS").get_attr("TCA_TBF_PARMS")
        for item in found
        if item["index"] == index and item.get_attr("TCA_KIND") == "tbf"
    ]
    return {"rate_bps": options["rate"] * 8, "limit_bytes": options["limit"]}


def test_a_rate_is_changed_in_place_and_back(testbed: Testbed, links: LinkChanges) -> None:
    before = testbed.counters().qdisc("source", "up0")
    links.set_conditions({UP: SLOW})
    assert meter(testbed, "source", "up0") == {"rate_bps": 10_000_000, "limit_bytes": 65536}
    assert meter(testbed, "fabric", "source")["rate_bps"] == 1_000_000_000, "the other direction stays"
    after = testbed.counters().qdisc("source", "up0")
    assert after.sent_packets >= before.sent_packets, "the meter was replaced, not changed"
    links.restore()
    assert meter(testbed, "source", "up0")["rate_bps"] == 1_000_000_000


def test_a_meter_that_comes_during_a_run_is_there_from_the_start_and_does_not_bind(testbed: Testbed) -> None:
    assert meter(testbed, "loadgen", "up0")["rate_bps"] == 34_000_000_000


def raw(testbed: Testbed, node: str, protocol: int = 0) -> socket.socket:
    made = testbed.connection.socket_in(testbed.topology.netns(node), socket.AF_PACKET, socket.SOCK_RAW)
    made.bind((names.UPLINK, protocol))
    made.settimeout(5.0)
    return made


def test_a_link_that_is_down_loses_without_telling_the_sender(testbed: Testbed, links: LinkChanges) -> None:
    frame = bytes.fromhex("02000000000202000000000188b5") + bytes(50)
    with raw(testbed, "loadgen") as sender, raw(testbed, "echoserver", 0x88B5) as receiver:
        links.set_link("loadgen", False)
        dropped = testbed.counters().link("loadgen", "up0").tx_dropped_packets
        for _ in range(20):
            sender.send(frame)  # behind its queueing discipline: no error
        counters = testbed.counters().link("loadgen", "up0")
        links.set_link("loadgen", True)
        sender.send(frame + b"after")
        assert receiver.recv(2000).endswith(b"after"), "the first frame to arrive is the one after"
    assert counters.tx_dropped_packets - dropped == 20
    (outage,) = links.outages
    assert outage.node == "loadgen"
    assert outage.from_ns < outage.until_ns


def test_a_drain_frame_waits_for_a_link_that_is_down_until_its_deadline(testbed: Testbed, links: LinkChanges) -> None:
    links.set_link("source", False)
    with pytest.raises(DeadlineExceeded, match="drain frame 0: the link was down for 50 ms"):
        testbed.fabric.inject_drain(0, 0, bytes(16), deadline_ns=50 * MS)
    links.set_link("source", True)
    assert testbed.fabric.inject_drain(0, 0, bytes(16), deadline_ns=2_000 * MS) > 0


def reach(testbed: Testbed, node: str, address: str) -> None:
    """A TCP connection to a port where nobody listens: refused at once by who is reached, silence otherwise."""
    with testbed.connection.socket_in(testbed.topology.netns(node), socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(0.5)
        client.connect((address, 9))


def test_a_partition_keeps_the_instances_apart_and_nobody_else(testbed: Testbed, links: LinkChanges) -> None:
    addresses = names.MANAGEMENT_ADDRESSES
    links.set_partition(True)
    for here, there in (("source", "destination"), ("destination", "source")):
        with pytest.raises(TimeoutError):
            reach(testbed, here, addresses[there])
        for node, address in ((names.FABRIC, addresses[there]), (there, addresses[names.CONTROLLER])):
            with pytest.raises(ConnectionRefusedError):
                reach(testbed, node, address)
    links.set_partition(False)
    with pytest.raises(ConnectionRefusedError):
        reach(testbed, "source", addresses["destination"])


def test_what_was_left_changed_is_put_right_by_the_next_provisioning(testbed: Testbed) -> None:
    links = testbed.link_changes()
    links.set_conditions({UP: SLOW})
    links.set_link("loadgen", False)
    links.set_partition(True)
    results = testbed.provision()
    assert results["source"]["changed"] == 1
    # The link belongs to the load generator, and the flags of the ports to the fabric.
    assert (results["loadgen"]["changed"], results["fabric"]["changed"]) == (1, 1)
    assert meter(testbed, "source", "up0")["rate_bps"] == 1_000_000_000


# -- whole runs -------------------------------------------------------------------------------------------------------

BASE = {
    "load__rate": "8M",
    "load__flows": 16,
    "timing__warm_up": "200ms",
    "timing__window": "2s",
    "timing__migrate_at": "300ms",
    "timing__load_until": "1500ms",
    "migration__filler": "64KiB",
    "migration__modes": '["statelet"]',
}


def run_with(cli: Cli, tmp_path: Path, impairments: str, **changed: Any) -> tuple[int, Path, Any]:
    """(exit code, folder of the run, its summary)"""
    smoke = Path(__file__).parents[2] / "profiles" / "smoke.toml"
    profile = tmp_path / "impaired.toml"
    profile.write_text(smoke.read_text() + impairments)
    before = cli.directories()
    command, _, *options = cli.run_arguments(**{**BASE, **changed})
    done = cli(command, profile, *options)
    (directory,) = cli.directories() - before
    (folder,) = directory.glob("01-*")
    return done.returncode, folder, json.loads((folder / "summary.json").read_text())


def rows_of(summary: Any) -> dict[str, int]:
    ledger = summary["ledger"]
    rows = {row["name"]: row["echo_packets"] + row["server_packets"] for row in ledger["rows"]}
    assert sum(rows.values()) == ledger["echo_intended_packets"] + ledger["server_intended_packets"]
    return rows


def broken(summary: Any) -> list[str]:
    return [item["name"] for item in summary["invariants"] if item["verdict"] == "broken"]


def test_an_outage_after_the_migration_is_every_loss_and_ends_when_it_is_over(
    cli: Cli, tmp_path: Path, untouched: Machine
) -> None:
    impairments = """
[[impairment]]
at = "1s"
for = "100ms"
link = "destination"
action = "down"
[[impairment]]
at = "200ms"
for = "300ms"
link = "source"
rate = "50Mbit"
[[impairment]]
at = "100ms"
for = "100ms"
action = "cpu"
share = 0.1
nice = 10
"""
    code, folder, summary = run_with(cli, tmp_path, impairments)
    assert (code, summary["migration"]["outcome"]) == (0, "completed"), summary["validity"]
    rows = rows_of(summary)
    assert (rows["unexplained"], broken(summary)) == (0, [])
    assert rows["link_down"] > 0
    texts = [item["text"] for item in summary["impairments"] if item["error"] is None]
    assert [text for text in texts if text != "end of the load"] == [
        "CPU contention: 1 at 10%, nice 10",
        "source: rate 50Mbit",
        "end of source: rate 50Mbit",
        "link of destination down",
        "end of link of destination down",
    ]
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    down, up = (
        next(item["monotonic_ns"] for item in events if item["text"].startswith(f"{words}link of destination down"))
        for words in ("", "end of ")
    )
    with np.load(folder / "loadgen.npz") as records:
        lost = records["sent_ns"][(records["received_ns"] == 0) & (records["sent_ns"] > 0)]
    inside = (lost > down - 50 * MS) & (lost < up + 50 * MS)
    (of_requests,) = [row["echo_packets"] for row in summary["ledger"]["rows"] if row["name"] == "link_down"]
    assert inside.sum() >= of_requests > 0
    points = (folder / "points.lp").read_text()
    assert "phase=impairment" in points


def test_a_partition_during_the_snapshot_aborts_and_the_source_serves_on_without_a_loss(
    cli: Cli, tmp_path: Path, untouched: Machine
) -> None:
    impairments = '\n[[impairment]]\nat = "500ms"\naction = "partition"\n'
    slow = {
        "migration__filler": "4MiB",
        "migration__snapshot_rate": "50Mbit",
        "migration__deadlines__snapshot": "700ms",
    }
    code, _, summary = run_with(cli, tmp_path, impairments, **slow)
    assert (code, summary["migration"]["outcome"]) == (1, "aborted"), summary["migration"]["reason"]
    rows = rows_of(summary)
    lost = {
        name: packets for name, packets in rows.items() if packets and name not in ("delivered", "late", "not_sent")
    }
    assert (lost, broken(summary)) == ({}, [])


@pytest.mark.skipif(kernel_features().netem, reason="with netem there is no need of the latency generator")
def test_loss_that_comes_and_goes_is_made_by_the_generator_and_is_in_the_ledger(
    cli: Cli, tmp_path: Path, untouched: Machine
) -> None:
    impairments = """
[links.destination.down]
ipdv = "200us"
[[impairment]]
at = "900ms"
for = "300ms"
link = "destination"
direction = "down"
loss = "20%"
"""
    _, folder, summary = run_with(cli, tmp_path, impairments)
    assert summary["calibration"]["latency_backend"] == "latency_generator"
    rows = rows_of(summary)
    assert (rows["unexplained"], broken(summary)) == (0, [])
    assert rows["impairment"] > 0
    assert all(item["error"] is None for item in summary["impairments"])
    assert summary["links"] == {"destination down": "ipdv 200us"}
    with np.load(folder / "loadgen.npz") as records:
        sent, received = records["sent_ns"], records["received_ns"]
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    begin, end = (
        next(item["monotonic_ns"] for item in events if item["text"].startswith(f"{words}destination down: loss"))
        for words in ("", "end of ")
    )
    lossy = (sent > begin + 20 * MS) & (sent < end - 20 * MS)
    share = np.count_nonzero(received[lossy] == 0) / np.count_nonzero(lossy)
    # Request and reply both cross the link on their way to the destination: 1 - 0.8^2 = 36 % of about 250 packets.
    assert 0.2 < share < 0.52
    clean = (sent > end + 100 * MS) & (sent > 0)
    assert np.count_nonzero(received[clean] == 0) == rows.get("meter", 0) == 0
