"""TCP connections through a real SSH server, in both directions, and through a second one."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from harness.provision.connections.local import LocalConnection
from harness.remote import forward
from harness.remote.errors import ConnectionLost
from harness.remote.forward import LOOPBACK
from harness.remote.hosts import load_hosts
from harness.remote.ssh import SshConnection
from tests.system.ssh_hosts import CONTROLLER, SshHosts, ssh_hosts  # noqa: F401

pytestmark = [pytest.mark.timeout(120)]
CONTENT = random.Random(1).randbytes(4 << 20)
WAIT_S = 30.0


def inside(hosts: SshHosts, name: str, what: Callable[[], Any]) -> Any:
    """On a thread in a host's network; sockets stay there."""
    local = LocalConnection()
    try:
        return local.run(hosts.netns(name), what)
    finally:
        local.close()


@pytest.fixture(params=["", "alpha"], ids=["direct", "behind alpha"])
def connection(request: pytest.FixtureRequest, ssh_hosts: SshHosts) -> Iterator[SshConnection]:  # noqa: F811
    inventory = load_hosts(ssh_hosts.inventory(gamma={"jump": request.param}))
    way = inventory.way_to(inventory["gamma"])
    with closing(inside(ssh_hosts, CONTROLLER, lambda: SshConnection.open(way))) as opened:
        yield opened


def listen(hosts: SshHosts, name: str) -> socket.socket:
    return inside(hosts, name, lambda: socket.create_server((LOOPBACK, 0)))  # type: ignore[no-any-return]


def connect(hosts: SshHosts, name: str, port: int) -> socket.socket:
    return inside(hosts, name, lambda: socket.create_connection((LOOPBACK, port), WAIT_S))  # type: ignore[no-any-return]


def read_all(source: socket.socket) -> bytes:
    source.settimeout(WAIT_S)
    return b"".join(iter(lambda: source.recv(1 << 16), b""))


def say_and_hear(client: socket.socket, server: socket.socket) -> None:
    """Each end says all it has to say and then hears the other to its end."""
    heard: list[bytes] = []

    def answer() -> None:
        taken, _ = server.accept()
        with taken:
            heard.append(read_all(taken))
            taken.sendall(CONTENT[::-1])

    answering = threading.Thread(target=answer)
    answering.start()
    with client:
        client.sendall(CONTENT)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == CONTENT[::-1]
    answering.join(WAIT_S)
    assert heard == [CONTENT]


def test_connections_made_on_the_host_come_here_whole(ssh_hosts: SshHosts, connection: SshConnection) -> None:  # noqa: F811
    with listen(ssh_hosts, CONTROLLER) as server:
        port = connection.forwards.to_here(server.getsockname())
        for _ in range(2):
            say_and_hear(connect(ssh_hosts, "gamma", port), server)


def test_connections_made_here_wait_until_they_know_where_to_go(
    ssh_hosts: SshHosts,  # noqa: F811
    connection: SshConnection,
) -> None:
    with listen(ssh_hosts, "gamma") as server:
        entrance = inside(ssh_hosts, CONTROLLER, connection.forwards.to_there)
        early = connect(ssh_hosts, CONTROLLER, entrance.port)
        entrance.lead_to(server.getsockname()[1])
        server.accept()[0].close()  # it was looked whether somebody is there
        say_and_hear(early, server)
        say_and_hear(connect(ssh_hosts, CONTROLLER, entrance.port), server)
        connection.close()
        with pytest.raises(ConnectionRefusedError):
            connect(ssh_hosts, CONTROLLER, entrance.port)


def test_a_port_where_nobody_listens_is_an_error(ssh_hosts: SshHosts, connection: SshConnection) -> None:  # noqa: F811
    with listen(ssh_hosts, "gamma") as server:
        port = server.getsockname()[1]
    entrance = inside(ssh_hosts, CONTROLLER, connection.forwards.to_there)
    with pytest.raises(ConnectionLost, match=f"nothing answers on its port {port}"):
        entrance.lead_to(port)


def send_for_ever(client: socket.socket) -> None:
    while True:
        client.sendall(CONTENT)


def test_a_side_that_takes_nothing_ends_its_connection(
    ssh_hosts: SshHosts,  # noqa: F811
    connection: SshConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forward, "STALLED_S", 0.3)
    with listen(ssh_hosts, CONTROLLER) as server:
        port = connection.forwards.to_here(server.getsockname())
        with connect(ssh_hosts, "gamma", port) as client:
            taken, _ = server.accept()
            client.settimeout(WAIT_S)
            with taken, pytest.raises(ConnectionError):
                send_for_ever(client)


def test_what_was_connected_ends_with_the_ssh_connection(ssh_hosts: SshHosts, connection: SshConnection) -> None:  # noqa: F811
    with listen(ssh_hosts, CONTROLLER) as server:
        port = connection.forwards.to_here(server.getsockname())
        with connect(ssh_hosts, "gamma", port) as client:
            taken, _ = server.accept()
            with taken:
                connection.close()
                assert read_all(taken) == b""
                assert read_all(client) == b""
