"""The provisioning engine against a real kernel: what is built is what was asked for, and what is left is nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.errors import MachineError
from harness.provision import kernel, messages
from harness.provision.clean import clean
from harness.provision.connections.errors import NamespaceExists
from harness.provision.connections.local import LocalConnection
from harness.provision.connections.spawned import ProcessFailed, process_start_ticks
from harness.provision.engine import Event, EventKind
from harness.provision.ownership import Ownership
from harness.provision.task import Context
from harness.provision.tasks.lookup import link as find_link
from harness.provision.tasks.netns import NetworkNamespace
from harness.provision.tasks.sysctl import read_sysctl
from harness.testbed.testbed import ProcessSpec, Testbed
from harness.testbed.topology import NODES, Topology
from tests.provision.contract import FakeTask
from tests.system.untouched import Machine, connection, look, run_id, untouched  # noqa: F401 (fixtures)

_STUBBORN = 'import signal, sys; signal.signal(15, signal.SIG_IGN); print(\'{"event": "ready"}\', flush=True)\n'
_STUBBORN += "while True: signal.pause()"


def of_nodes(recap: dict[str, dict[str, int]]) -> list[dict[str, int]]:
    """Counts of everything but the machine itself, where what is wanted may be so already."""
    return [recap[node] for node in NODES]


def test_provisions_twice_and_leaves_nothing(run_id: str, tmp_path: Path, untouched: Machine) -> None:
    testbed = Testbed(Topology(run_id), state_directory=tmp_path)
    first = testbed.provision()
    assert set(first) >= set(NODES)
    assert all(set(counts) == {"changed"} for counts in of_nodes(first))
    second = testbed.provision()
    assert {node: sum(counts.values()) for node, counts in second.items()} == {
        node: sum(counts.values()) for node, counts in first.items()
    }
    assert all(set(counts) == {"ok"} for counts in second.values()), "not idempotent"
    testbed.teardown()
    testbed.teardown()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_set_up_and_tear_down_are_fast(run_id: str, tmp_path: Path, untouched: Machine) -> None:
    testbed = Testbed(Topology(run_id), state_directory=tmp_path)
    started = time.monotonic()
    testbed.provision()
    provisioned = time.monotonic()
    testbed.teardown()
    assert provisioned - started < 1.0
    assert time.monotonic() - provisioned < 0.5


def test_the_namespaces_are_as_the_topology_says(run_id: str, tmp_path: Path, untouched: Machine) -> None:
    with Testbed(Topology(run_id), state_directory=tmp_path) as testbed:
        context = Context(testbed.connection, Ownership.preview(run_id))
        for node in NODES:
            netns = testbed.topology.netns(node)

            def read(name: str, netns: str = netns) -> str | None:
                return testbed.connection.run(netns, lambda: read_sysctl(name))

            assert read("net.ipv6.conf.all.disable_ipv6") in ("1", None)
            assert read("net.ipv4.conf.all.rp_filter") == "0"
        for node in ("fabric", "source", "destination"):
            netns = testbed.topology.netns(node)
            with testbed.connection.socket_in(netns, socket.AF_INET, socket.SOCK_STREAM) as probe:
                assert probe.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") == b"cubic"
        bridge = find_link(context, testbed.topology.netns("fabric"), "br0")
        assert bridge is not None
        assert bridge.get_attr("IFLA_IFALIAS") == f"slim-harness run={run_id}"


def test_check_creates_nothing_and_tells_every_change(run_id: str, tmp_path: Path, untouched: Machine) -> None:
    events: list[Event] = []
    testbed = Testbed(Topology(run_id), events.append, state_directory=tmp_path / "state")
    recap = testbed.provision(check=True)
    assert all(set(counts) == {"changed"} for counts in of_nodes(recap))
    lines = [change.line() for event in events for change in event.changes]
    assert f"{run_id}-fabric: absent -> present" in lines
    assert "02:00:00:00:01:00: absent -> source" in lines
    assert not (tmp_path / "state").exists()
    testbed.teardown()


def test_drift_is_found_and_mended(run_id: str, tmp_path: Path, untouched: Machine) -> None:
    events: list[Event] = []
    with Testbed(Topology(run_id), events.append, state_directory=tmp_path) as testbed:
        netns = testbed.topology.netns("loadgen")
        testbed.connection.netlink(netns).transact([messages.link_set("up0", [("IFLA_MTU", 1400)], up=False)])
        events.clear()
        testbed.provision()
        lines = {change.line() for event in events for change in event.changes}
        assert lines == {f"{netns}/up0 up: False -> True", f"{netns}/up0 mtu_bytes: 1400 -> 1500"}


def test_a_failing_task_leaves_nothing(
    run_id: str, tmp_path: Path, untouched: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []
    testbed = Testbed(Topology(run_id), events.append, state_directory=tmp_path)
    tasks = [*testbed.tasks(), FakeTask("bad", {}, fail_at="apply")]
    monkeypatch.setattr(testbed, "tasks", lambda: tasks)
    with pytest.raises(OSError, match="apply of bad"):
        testbed.provision()
    assert events[-1].kind is EventKind.UNDONE
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_process_that_does_not_get_ready_leaves_nothing(run_id: str, tmp_path: Path, untouched: Machine) -> None:
    testbed = Testbed(Topology(run_id), state_directory=tmp_path)
    testbed.provision()
    specs = [
        ProcessSpec("source", "good", [sys.executable, "-c", _STUBBORN], {}, tmp_path / "good.log"),
        ProcessSpec("source", "bad", [sys.executable, "-c", "raise SystemExit(3)"], {}, tmp_path / "bad.log"),
    ]
    with pytest.raises(ProcessFailed, match="exit status 3"):
        testbed.start(specs)


def test_a_process_lives_in_the_namespace_of_its_node(run_id: str, tmp_path: Path, untouched: Machine) -> None:
    program = "import json, os; print(json.dumps({'event': 'ready', 'inode': os.stat('/proc/self/ns/net').st_ino}), "
    program += "flush=True); input(); input()"
    with Testbed(Topology(run_id), state_directory=tmp_path) as testbed:
        specs = [
            ProcessSpec(node, node, [sys.executable, "-c", program], {}, tmp_path / f"{node}.log")
            for node in ("loadgen", "destination")
        ]
        started = testbed.start(specs)
        for spec, item in zip(specs, started, strict=True):
            identity = testbed.connection.namespace_identity(testbed.topology.netns(spec.node))
            assert identity is not None
            assert item.ready["inode"] == identity.inode
        pids = [item.process.pid for item in started]
    assert [process_start_ticks(pid) for pid in pids] == [None, None]


def test_a_foreign_namespace_is_refused_and_untouched(
    run_id: str, tmp_path: Path, connection: LocalConnection, untouched: Machine
) -> None:
    name = f"{run_id}-source"
    foreign = connection.create_namespace(name, lambda _identity: None)
    try:
        testbed = Testbed(Topology(run_id), state_directory=tmp_path)
        with pytest.raises(NamespaceExists, match=name):
            testbed.provision()
        assert connection.namespace_identity(name) == foreign
        assert connection.namespace_identity(f"{run_id}-fabric") is None
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    finally:
        connection.remove_namespace(name, foreign)


def test_a_second_run_is_refused_and_the_first_goes_on(run_id: str, tmp_path: Path, untouched: Machine) -> None:
    with Testbed(Topology(run_id), state_directory=tmp_path) as testbed:
        second = Testbed(Topology(f"u{run_id[1:]}"), state_directory=tmp_path)
        with pytest.raises(MachineError, match=rf"run {run_id}, process {os.getpid()} .*started"):
            second.provision()
        recap = testbed.provision()
        assert all(set(counts) == {"ok"} for counts in recap.values())


_RUN = """
import os, signal, sys
from pathlib import Path
from harness.provision.interrupt import Interrupted, interruptible
from harness.testbed.testbed import ProcessSpec, Testbed
from harness.testbed.topology import Topology

run_id, state, number, at = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
steps = 0

def count(event):
    global steps
    steps += event.kind == "changed"
    if steps == at:
        steps += 1
        os.kill(os.getpid(), number)

testbed = Testbed(Topology(run_id), count, state_directory=state)
try:
    with interruptible():
        with testbed:
            testbed.start([ProcessSpec("source", "stubborn", [sys.executable, "-c", STUBBORN], {}, state / "log")])
            print("up", flush=True)
            sys.stdin.read()
except Interrupted as interruption:
    sys.exit(interruption.exit_code)
"""


def run_testbed(run_id: str, state: Path, number: signal.Signals, at: int) -> subprocess.Popen[str]:
    program = _RUN.replace("STUBBORN", repr(_STUBBORN))
    argv = [sys.executable, "-c", program, run_id, str(state), str(int(number)), str(at)]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("at", [2, 4, 20, 30])
def test_what_a_killed_run_leaves_is_cleaned_and_nothing_else(
    run_id: str, tmp_path: Path, connection: LocalConnection, untouched: Machine, at: int
) -> None:
    state = tmp_path / "state"
    foreign_name = f"{run_id}-foreign"
    foreign = connection.create_namespace(foreign_name, lambda _identity: None)
    try:
        with run_testbed(run_id, state, signal.SIGKILL, at) as process:
            assert process.wait(30) == -signal.SIGKILL
        left = {entry.name for entry in kernel.NETNS_DIRECTORY.iterdir() if entry.name.startswith(run_id)}
        assert left != {foreign_name}, "the run was killed before it had made anything"
        cleaned = clean(state)
        assert {item.name for item in cleaned if item.kind == "namespace"} == left - {foreign_name}
        assert all(item.run_id == run_id for item in cleaned)
        assert clean(state) == []
        assert connection.namespace_identity(foreign_name) == foreign
    finally:
        connection.remove_namespace(foreign_name, foreign)


def test_the_stubborn_process_of_a_killed_run_is_ended(run_id: str, tmp_path: Path, untouched: Machine) -> None:
    state = tmp_path / "state"
    with run_testbed(run_id, state, signal.SIGKILL, -1) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert clean(state) == [], "a living run must be left alone"
        process.kill()
        process.wait(10)
    kinds = [item.kind for item in clean(state)]
    assert kinds[0] == "process", "processes go before the namespaces they live in"
    assert kinds.count("namespace") == 5
    assert clean(state) == []


def test_a_namespace_that_took_the_name_since_is_left_alone(
    run_id: str, tmp_path: Path, connection: LocalConnection, untouched: Machine
) -> None:
    name = f"{run_id}-fabric"
    with Ownership.acquire(run_id, tmp_path) as ownership:
        NetworkNamespace("fabric", name).apply(Context(connection, ownership), [])
    ours = connection.namespace_identity(name)
    assert ours is not None
    connection.remove_namespace(name, ours)
    theirs = kernel.NamespaceIdentity(0, 0)
    keep: list[socket.socket] = []
    try:
        theirs = connection.create_namespace(name, lambda _identity: None)
        if theirs == ours:  # the kernel gives inodes away again; hold this one and take another
            keep.append(connection.socket_in(name, socket.AF_INET, socket.SOCK_DGRAM))
            connection.remove_namespace(name, theirs)
            theirs = connection.create_namespace(name, lambda _identity: None)
        assert clean(tmp_path) == []
        assert connection.namespace_identity(name) == theirs
    finally:
        connection.remove_namespace(name, theirs)
        for item in keep:
            item.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [5, 30])
def test_an_interrupted_run_tears_down(
    run_id: str, tmp_path: Path, untouched: Machine, number: signal.Signals, at: int
) -> None:
    with run_testbed(run_id, tmp_path / "state", number, at) as process:
        assert process.wait(30) == 130
    assert clean(tmp_path / "state") == []


def test_the_processes_of_a_kept_testbed_end_and_its_namespaces_stay_for_clean(
    run_id: str, tmp_path: Path, untouched: Machine, connection: LocalConnection
) -> None:
    testbed = Testbed(Topology(run_id), state_directory=tmp_path)
    testbed.provision()
    program = 'print(\'{"event": "ready"}\', flush=True); input(); input()'
    (started,) = testbed.start([ProcessSpec("source", "p", [sys.executable, "-c", program], {}, tmp_path / "log")])
    testbed.keep()
    assert process_start_ticks(started.process.pid) is None
    assert connection.namespace_identity(f"{run_id}-fabric") is not None
    assert len([item for item in clean(tmp_path) if item.kind == "namespace"]) == 5
