"""Requests in the wrong order, and what the control server hears: nothing of it changes an instance."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import ProtocolError
from harness.migration.messages import (
    AbortRequest,
    Accepted,
    ActivateRequest,
    CommitRequest,
    Dumped,
    DumpStateRequest,
    MigrateOutRequest,
    Prepared,
    PrepareInRequest,
    Status,
    StatusRequest,
    StopRequest,
)
from harness.migration.protocol import ControllerChannel, RequestRefusedError
from tests.vei.bench import SECRET, Node, deadline, frame, wait_until

PREPARE = PrepareInRequest(epoch=1, mode="statelet", deadline_ns=5_000_000_000)
LEAVE = MigrateOutRequest(
    epoch=1,
    mode="statelet",
    address="127.0.0.13",
    statelet_port=1,
    snapshot_port=1,
    filler_bytes=0,
    filler_seed=0,
    snapshot_rate_bps=0,
    connect_deadline_ns=10**9,
    deadline_ns=10**9,
)


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node("source", "127.0.0.13")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (LEAVE, "source: migrate_out needs phase live, the phase is standby"),
        (CommitRequest(epoch=1), "commit: epoch 1 is not migrating out"),
        (DumpStateRequest(path="relative.npz"), "'relative.npz' is not an absolute path"),
        (DumpStateRequest(path="/no/such/folder/state.npz"), "cannot write the state"),
    ],
)
def test_in_standby(node: Node, request_: Any, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        node.request(request_, Accepted)


def test_a_live_instance_cannot_be_prepared_or_activated_again(node: Node) -> None:
    node.request(ActivateRequest(), Accepted)
    for request in (PREPARE, ActivateRequest()):
        with pytest.raises(RequestRefusedError, match="needs phase standby, the phase is live"):
            node.request(request, Prepared)
    assert node.phase() == "live"


def test_an_abort_ends_the_wait_for_the_source_and_its_ports(node: Node) -> None:
    prepared = node.request(PREPARE, Prepared)
    with pytest.raises(RequestRefusedError, match="the phase is prepared"):
        node.request(PREPARE.model_copy(update={"epoch": 2}), Prepared)
    with pytest.raises(RequestRefusedError, match="the phase is prepared"):
        node.request(DumpStateRequest(path="/tmp/never"), Dumped)
    node.request(AbortRequest(epoch=1, reason="test"), Accepted)
    assert node.phase() == "standby"
    for port in (prepared.statelet_port, prepared.snapshot_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((node.address, port))
    node.request(AbortRequest(epoch=1, reason="again"), Accepted)
    with pytest.raises(RequestRefusedError, match="epoch 1 is not after 1: every attempt needs a new one"):
        node.request(PREPARE, Prepared)
    node.request(PREPARE.model_copy(update={"epoch": 2}), Prepared)


def test_a_lost_controller_ends_the_session_and_another_may_come(node: Node) -> None:
    node.request(PREPARE, Prepared)
    node.channel.close()
    node.channel = ControllerChannel.open(node.address, node.server.port, SECRET, deadline(), "source")
    wait_until(lambda: node.phase() == "standby", "session ends without its controller")


def test_strangers_are_refused_on_the_control_port(node: Node) -> None:
    node.channel.close()
    with pytest.raises(ProtocolError):
        ControllerChannel.open(node.address, node.server.port, b"x" * 32, deadline(), "source")
    with socket.create_connection((node.address, node.server.port)) as stranger:
        stranger.sendall(bytes(100))
    node.channel = ControllerChannel.open(node.address, node.server.port, SECRET, deadline(), "source")
    assert node.phase() == "standby"
    wait_until(lambda: node.server.refused == 2, "both strangers are counted")


def test_the_control_port_is_on_the_management_address_only(node: Node) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", node.server.port))


def test_a_message_that_does_not_parse_ends_the_connection_only(node: Node) -> None:
    node.channel.channel.send(b'{"type": "reboot"}', deadline())
    with pytest.raises(ProtocolError):
        node.request(StatusRequest(), Status)
    node.channel = ControllerChannel.open(node.address, node.server.port, SECRET, deadline(), "source")
    assert node.phase() == "standby"


def test_the_state_of_a_live_instance_is_written_while_it_goes_on(node: Node, tmp_path: Path) -> None:
    node.request(ActivateRequest(), Accepted)
    for number in range(8):
        node.outside[0].send(frame(0, number))
    for _ in range(8):
        node.outside[1].recv(2000)
    dumped = node.request(DumpStateRequest(path=str(tmp_path / "state.npz")), Dumped)
    assert dumped.records == {"flows": 8, "fixed": 1}
    with np.load(tmp_path / "state.npz") as arrays:
        assert arrays["flows"][:, 1].tolist() == [1] * 8
    node.outside[0].send(frame(0, 0))
    node.outside[1].recv(2000)
    assert node.flows()[0] == (2, 0)


def test_status_names_the_instance(node: Node) -> None:
    status = node.request(StatusRequest(), Status)
    assert (status.role, status.phase, status.epoch, status.image, status.version) == (
        "source",
        "standby",
        0,
        "flows",
        "1",
    )
    assert len(status.counters["ports"]) == 2


def test_a_stop_request_is_answered_first(node: Node) -> None:
    node.request(StopRequest(), Accepted)
    assert node.stopping.wait(5.0)
