"""What the engine needs of a host, whatever lies between: run code in a namespace, start processes, read and write
files.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from harness.provision.connections.spawned import SpawnedProcess
from harness.provision.kernel import NamespaceIdentity
from harness.provision.netlink import RouteSocket

Result = TypeVar("Result")


class Connection(Protocol):
    """A host. `netns` is the name of a network namespace there; None is the one the connection itself lives in.

    A method that enters a namespace raises NamespaceMissing when there is none of that name.
    """

    def run(self, netns: str | None, task: Callable[[], Result]) -> Result:
        """Call `task` on a thread inside the namespace and return its result or raise its exception."""

    def netlink(self, netns: str | None) -> RouteSocket:
        """A route netlink socket of the namespace, kept open until `release`."""

    def socket_in(self, netns: str | None, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that lives in the namespace and can be used from any thread."""

    def spawn(
        self,
        argv: Sequence[str],
        netns: str | None,
        configuration: Mapping[str, Any],
        log_path: Path,
        environment: Mapping[str, str] | None = None,
    ) -> SpawnedProcess:
        """Start a process in the namespace; `configuration` is the first line of its standard input, as JSON."""

    def read_text(self, path: Path, netns: str | None = None) -> str:
        """Content of a file as seen from the namespace (sysctls under /proc/sys/net differ by namespace)."""

    def write_text(self, path: Path, text: str, netns: str | None = None) -> None:
        """Write a file as seen from the namespace."""

    def create_namespace(self, name: str, announce: Callable[[NamespaceIdentity], None]) -> NamespaceIdentity:
        """Create a named namespace; `announce` is told its identity before the name becomes visible.

        Raises NamespaceExists, and changes nothing, when the name is taken.
        """

    def remove_namespace(self, name: str, identity: NamespaceIdentity) -> bool:
        """Remove the named namespace if it is the very one of `identity`; False when it is not there (any more)."""

    def namespace_identity(self, name: str) -> NamespaceIdentity | None:
        """Identity of the namespace of that name, None when there is none."""

    def open_namespace(self, name: str) -> int:
        """A file descriptor of the namespace, to be closed by the caller."""

    def release(self, netns: str) -> None:
        """Close everything kept open in the namespace (threads and sockets keep a namespace alive)."""

    def close(self) -> None:
        """Release every namespace."""
