"""The machine before and after a test: fixtures for tests that must leave nothing behind."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.provision import kernel, messages
from harness.provision.connections.local import LocalConnection
from harness.provision.tasks.sysctl import read_sysctl

ALLOWED = "net.ipv4.tcp_allowed_congestion_control"


class Machine(NamedTuple):
    """Everything of the machine that the testbed could leave changed."""

    namespaces: frozenset[str]
    mounts: tuple[str, ...]
    links: tuple[str, ...]
    children: frozenset[str]
    allowed: str | None


def look(connection: LocalConnection) -> Machine:
    directory = kernel.NETNS_DIRECTORY
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return Machine(
        frozenset(entry.name for entry in directory.iterdir()) if directory.exists() else frozenset(),
        tuple(line for line in mounts if f" {directory}/" in line),
        tuple(str(link.get_attr("IFLA_IFNAME")) for link in connection.netlink(None).dump(messages.links_dump())),
        frozenset(children),
        read_sysctl(ALLOWED),
    )


@pytest.fixture
def run_id() -> str:
    return f"t{secrets.token_hex(4)[:7]}"


@pytest.fixture
def connection() -> Iterator[LocalConnection]:
    local = LocalConnection()
    yield local
    local.close()


@pytest.fixture
def untouched(connection: LocalConnection) -> Iterator[Machine]:
    """The machine before the test, which has to be the machine after it."""
    kernel.prepare_netns_directory()
    before = look(connection)
    yield before
    assert look(connection) == before
