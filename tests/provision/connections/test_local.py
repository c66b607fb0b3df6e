from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from harness.provision import messages
from harness.provision.connections.errors import NamespaceMissing
from harness.provision.connections.local import LocalConnection
from harness.provision.netlink import NetlinkError


@pytest.fixture
def connection() -> Iterator[LocalConnection]:
    local = LocalConnection()
    yield local
    local.close()


def test_work_is_done_on_a_thread_of_the_namespace_and_errors_come_back(connection: LocalConnection) -> None:
    first, second = (connection.run(None, threading.get_ident) for _ in range(2))
    assert first == second != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        connection.run(None, lambda: 1 // 0)


def test_a_namespace_that_is_not_there_is_named(connection: LocalConnection) -> None:
    for use in (
        lambda: connection.run("nosuch-ns", int),
        lambda: connection.netlink("nosuch-ns"),
        lambda: connection.socket_in("nosuch-ns", socket.AF_INET, socket.SOCK_DGRAM),
    ):
        with pytest.raises(NamespaceMissing, match="nosuch-ns"):
            use()
    assert connection.namespace_identity("nosuch-ns") is None


def test_reads_links_and_reports_the_kernels_refusal(connection: LocalConnection) -> None:
    route = connection.netlink(None)
    (loopback,) = route.dump(messages.link_get("lo"))
    assert loopback["index"] == 1
    with pytest.raises(NetlinkError, match="get link nosuchlink0: No such device"):
        route.dump(messages.link_get("nosuchlink0"))


def test_nothing_to_ask_is_no_error(connection: LocalConnection) -> None:
    assert connection.netlink(None).transact([]).requests == 0
