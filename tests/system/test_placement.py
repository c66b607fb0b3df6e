"""A run whose nodes are on three hosts, each with a clock of its own: as exact as on one, and gone with its hosts."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import time
from pathlib import Path

import pytest

from harness.errors import MachineError
from harness.provision.connections.local import LocalConnection
from harness.testbed.topology import NODES
from tests.system.conftest import SMOKE, Cli
from tests.system.placed import (  # noqa: F401
    AHEAD_S,
    arguments,
    carry_out,
    judge,
    nothing_left,
    three_hosts,
    with_tables,
)
from tests.system.ssh_hosts import SshHosts
from tests.system.traffic import CLIENT, CONNECTIONS, SEGMENTS, write_capture

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="other hosts need root"),
    pytest.mark.timeout(240),
]


def test_source_and_destination_on_two_hosts(cli: Cli, hosts: SshHosts) -> None:
    result = carry_out(cli, hosts, {"source": "alpha", "destination": "beta"})
    judge(result)
    others = result.summary["other_hosts"]
    assert {name: other["nodes"] for name, other in others.items()} == {"alpha": ["source"], "beta": ["destination"]}
    for name, other in others.items():
        # They share a kernel, so the truth is known.
        assert abs(other["clock_offset_ns"] - AHEAD_S[name] * 1_000_000_000) <= other["clock_error_bound_ns"]
        assert other["clock_error_bound_ns"] < 5_000_000
    logs = {path.name for path in (result.folder / "logs").iterdir()}
    assert {"source.log", "destination.log", "latency-alpha.log", "latency-beta.log"} <= logs
    built = json.loads((result.directory / "testbed.json").read_text())
    assert built["placement"]["alpha"] == {
        "nodes": ["source"],
        "there": hosts.address("alpha"),
        "fabric": "198.51.100.1",
    }
    assert built["mtu_bytes"] == 1450, "what a tunnel leaves of 1500 bytes between the hosts"


def test_both_ends_of_the_load_elsewhere_and_the_instances_together(cli: Cli, hosts: SshHosts) -> None:
    placement = {"loadgen": "gamma", "echoserver": "gamma", "source": "beta", "destination": "beta"}
    result = carry_out(cli, hosts, placement, load__new_flows_per_s=60, load__server_packets_per_s=100)
    judge(result)
    assert result.summary["total"]["server_lost_packets"] == 0


@pytest.mark.parametrize(
    "placement",
    [
        {"fabric": "alpha", "source": "beta", "destination": "gamma"},
        dict.fromkeys(("loadgen", "echoserver", "fabric", "source", "destination"), "beta"),
    ],
    ids=["between three", "with all others"],
)
def test_the_fabric_elsewhere_is_steered_from_here(cli: Cli, hosts: SshHosts, placement: dict[str, str]) -> None:
    result = carry_out(cli, hosts, placement, load__new_flows_per_s=60)
    judge(result)
    assert set(result.summary["other_hosts"]) == set(placement.values())
    built = json.loads((result.directory / "testbed.json").read_text())["placement"]
    fabric, fabric_address = placement["fabric"], hosts.address(placement["fabric"])
    assert built[fabric] == {"nodes": [node for node in NODES if placement.get(node) == fabric]}
    here = built["localhost"]
    assert here["nodes"] == [*(node for node in NODES if node not in placement), "controller"]
    assert (here["there"], here["fabric"]) == (hosts.controller_address, fabric_address)
    migration = result.summary["migration"]
    # The clocks differ by days: what was steered there is told in this host's time.
    assert 0 < migration["switchover_duration_ns"] < 1_000_000_000


def test_links_change_on_the_hosts_they_are_on_and_back(cli: Cli, hosts: SshHosts, tmp_path: Path) -> None:
    impairments: list[dict[str, object]] = [
        {"at": "100ms", "for": "100ms", "action": "cpu", "share": 0.1, "nice": 10},
        {"at": "200ms", "for": "200ms", "link": "source", "rate": "50Mbit"},
        {"at": "1200ms", "for": "100ms", "link": "destination", "action": "down"},
    ]
    placement = {"fabric": "gamma", "source": "alpha"}
    result = carry_out(cli, hosts, placement, with_tables(tmp_path, impairment=impairments))
    assert result.exit_code == 0, result.output
    summary = result.summary
    assert [item["text"] for item in summary["impairments"] if item["error"] is None] == [
        "CPU contention: 1 at 10%, nice 10",
        "source: rate 50Mbit",
        "end of source: rate 50Mbit",
        "link of destination down",
        "end of link of destination down",
        "end of the load",
    ]
    ledger = summary["ledger"]
    rows = {row["name"]: row["echo_packets"] for row in ledger["rows"]}
    assert rows["link_down"] > 0
    assert rows["unexplained"] == 0
    assert sum(rows.values()) == ledger["echo_intended_packets"]
    assert {found["verdict"] for found in summary["invariants"]} == {"holds"}, summary["invariants"]


def test_an_instance_killed_on_its_host_costs_nothing_and_another_moves(
    cli: Cli, hosts: SshHosts, tmp_path: Path
) -> None:
    faults: list[dict[str, object]] = [
        {"phase": "snapshot", "target": "destination", "action": "kill"},
        {"phase": "prepare", "target": "source", "action": "stop", "for": "20ms"},
    ]
    placement = {"fabric": "gamma", "source": "alpha", "destination": "beta"}
    result = carry_out(cli, hosts, placement, with_tables(tmp_path, fault=faults), migration__filler="256KiB")
    judge(result)
    attempts = result.summary["migration"]["attempts"]
    assert [(attempt["epoch"], attempt["outcome"]) for attempt in attempts] == [(1, "aborted"), (2, "completed")]
    happened = {(fault["target"], fault["state"]) for fault in result.summary["faults"]}
    assert happened == {("destination", "over"), ("source", "over")}, result.summary["faults"]


def test_a_captured_load_is_sent_from_another_host(
    cli: Cli, hosts: SshHosts, tmp_path_factory: pytest.TempPathFactory
) -> None:
    capture = write_capture(tmp_path_factory.mktemp("capture") / "traffic.pcap")
    overrides = {"load__workload": "capture", "load__capture__path": capture, "load__capture__speed": 2.0}
    placement = {"loadgen": "alpha", "destination": "beta"}
    result = carry_out(cli, hosts, placement, load__capture__pace="capture", **overrides)
    judge(result)
    assert result.summary["capture"]["response_packets"] == CONNECTIONS * (1 + SEGMENTS)
    assert not list(result.folder.rglob("*.pcap")), "it was here already"


def test_programs_talk_between_hosts_while_the_nat_moves(cli: Cli, hosts: SshHosts, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(100_000)
    (tmp_path / "content").write_bytes(content)
    result = carry_out(
        cli,
        hosts,
        {"loadgen": "alpha", "echoserver": "gamma", "fabric": "gamma", "source": "beta"},
        load__workload="command",
        load__command__client=json.dumps([sys.executable, "-c", CLIENT]),
        load__command__server=json.dumps([sys.executable, "-m", "http.server", "8000", "--directory", str(tmp_path)]),
        load__command__ready_within="60s",
    )
    assert result.exit_code == 0, result.output
    summary = result.summary
    assert (summary["migration"]["outcome"], summary["command"]["exit_status"]) == ("completed", 0)
    assert set(summary["other_hosts"]) == {"alpha", "beta", "gamma"}
    downloads = (result.folder / "logs" / "client.out").read_text().split()
    assert len(downloads) > 1
    assert set(downloads) == {hashlib.sha256(content).hexdigest()}
    assert "/content" in (result.folder / "logs" / "server.out").read_text()


def test_a_program_that_a_host_has_not_is_one_line(cli: Cli, hosts: SshHosts) -> None:
    client = {"load__workload": "command", "load__command__client": '["no-such-program"]'}
    result = carry_out(cli, hosts, {"loadgen": "alpha"}, **client)
    assert result.exit_code == 1
    (said,) = {line.strip() for line in result.output.splitlines() if "no-such-program" in line}
    assert "does not start (No such file or directory)" in said
    assert "Traceback" not in result.output


SWEEP = f"""
[sweep]
name = "placed"
profile = "{SMOKE}"
modes = ["statelet"]
control_repetitions = 0
retries = 0
[matrix]
"load.rate" = ["4M", "5M"]
[set]
"load.flows" = 16
"timing.warm_up" = "300ms"
"timing.window" = "2s"
"timing.migrate_at" = "300ms"
"timing.load_until" = "600ms"
"placement.source" = "alpha"
"placement.destination" = "beta"
"""


def test_the_runs_of_a_sweep_have_their_nodes_on_hosts_that_are_connected_once(
    cli: Cli, hosts: SshHosts, tmp_path: Path
) -> None:
    file, connections = tmp_path / "placed.toml", accepted(hosts, "alpha")
    file.write_text(SWEEP)
    command = ("sweep", file, "--inventory", hosts.inventory(), "--results", cli.results, "--json")
    done = cli(*command, prefix=hosts.prefix)
    assert done.returncode in (0, 1), done.stderr  # a busy machine may make a run FAILED
    document = json.loads(done.stdout)
    assert (document["complete"], len(document["runs"])) == (True, 2)
    assert "links of 2 cells not calibrated: nodes are on several hosts" in done.stderr
    assert accepted(hosts, "alpha") == connections + 1
    for entry in document["runs"]:
        summary = json.loads((Path(document["path"]) / entry["folder"] / "summary.json").read_text())
        assert set(summary["other_hosts"]) == {"alpha", "beta"}
        assert summary["migration"]["outcome"] == "completed"


@pytest.mark.parametrize(
    ("placement", "overrides", "code", "said"),
    [
        ({"source": "alhpa"}, {}, 2, "no host 'alhpa'; did you mean alpha?"),
        ({"source": "alpha"}, {"load__frame": "1500B"}, 4, "raise the MTU between the hosts by 36 bytes"),
        ({"source": "alpha"}, {"uplink__latency_backend": "latency_generator"}, 2, "one process beside all links"),
    ],
)
def test_what_cannot_be_is_one_line(
    cli: Cli, hosts: SshHosts, placement: dict[str, str], overrides: dict[str, object], code: int, said: str
) -> None:
    done = cli(*arguments(cli, hosts, placement, **overrides), prefix=hosts.prefix)
    assert done.returncode == code, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert said in line


def test_tasks_of_a_node_are_done_on_its_host_through_the_connection_that_is_there(
    cli: Cli, hosts: SshHosts, tmp_path: Path
) -> None:
    tasks = [
        {"process": {"argv": ["sleep", "3970"]}, "hosts": ["source", "alpha", "destination"]},
        {"command": {"argv": ["ip", "-d", "-o", "link", "show", "up0"]}, "hosts": ["source"], "when": "after"},
    ]
    connections = accepted(hosts, "alpha")
    result = carry_out(cli, hosts, {"source": "alpha"}, with_tables(tmp_path, task=tasks))
    assert result.exit_code == 0, result.output
    assert accepted(hosts, "alpha") == connections + 1
    found = json.loads((result.directory / "tasks.json").read_text())["tasks"]
    places = [("source", "alpha"), ("alpha", "alpha"), ("destination", "localhost"), ("source", "alpha")]
    assert [(task["on"], task["host"], task["result"]) for task in found] == [(*place, "changed") for place in places]
    assert " vxlan id " in found[-1]["output"]


def accepted(hosts: SshHosts, name: str) -> int:
    """How many connections a host has taken."""
    return (hosts.folder / f"{name}.log").read_text().count("Accepted publickey")


_TELL_TIME = 'import json, time; input(); print(json.dumps({"event": "now", "ns": time.monotonic_ns()}), flush=True)'


def test_a_process_on_a_shifted_clock_tells_the_time_of_another_host(tmp_path: Path) -> None:
    connection = LocalConnection()
    try:
        for shift_ns in (86_400_000_000_017, -1_500_000_000):
            connection.clock_shift_ns = shift_ns
            before_ns = time.monotonic_ns()
            process = connection.spawn([sys.executable, "-c", _TELL_TIME], None, {}, tmp_path / "log")
            told_ns = process.wait_event("now", 20.0)["ns"]
            assert before_ns <= told_ns - shift_ns <= time.monotonic_ns()
            assert process.stop() == 0
        connection.clock_shift_ns = -time.monotonic_ns() - 1_000_000_000
        with pytest.raises(MachineError, match="no clock of its own for a process"):
            connection.spawn([sys.executable, "-c", _TELL_TIME], None, {}, tmp_path / "log")
    finally:
        connection.close()
