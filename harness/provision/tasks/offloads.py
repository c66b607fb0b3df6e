"""What a link's kernel leaves to hardware that a veth has not: checksums, and the division of large segments."""

from __future__ import annotations

import array
import contextlib
import fcntl
import socket
import struct
from collections.abc import Sequence

from harness.provision.connections.errors import NamespaceMissing
from harness.provision.task import Change, Context, State, Task

_SIOCETHTOOL = 0x8946
# (get, set) commands of struct ethtool_value, linux/ethtool.h.
_COMMANDS = {
    "transmit checksums": (0x16, 0x17),
    "TCP segmentation": (0x1E, 0x1F),
    "segmentation": (0x23, 0x24),
}


class OffloadsOff(Task):
    """Make the kernel's own stack send whole frames: at most the MTU, with their checksums in them.

    A veth passes a segment of up to 64 KiB on undivided and a checksum uncalculated, for the receiver to trust; whoever
    reads such frames from a packet socket and sends them on sends what no receiver accepts.
    """

    name = "turn offloads off"

    def __init__(self, node: str, netns: str, link: str, container: str | None = None) -> None:
        super().__init__(node, container)
        self.netns = netns
        self.link = link
        self._before: dict[str, int] = {}

    def wanted(self) -> State:
        return {f"{self.link} {name}": "off" for name in _COMMANDS}

    def observe(self, context: Context) -> State:
        try:
            return {f"{self.link} {name}": "on" if value else "off" for name, value in self._read(context).items()}
        except (NamespaceMissing, OSError):
            return {}

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        self._before = self._read(context)
        self._write(context, dict.fromkeys(_COMMANDS, 0))

    def undo(self, context: Context) -> None:
        with contextlib.suppress(NamespaceMissing, OSError):  # the link may be gone, and with it what was set
            self._write(context, self._before)

    def _read(self, context: Context) -> dict[str, int]:
        return self._within(context, {name: (get, 0) for name, (get, _) in _COMMANDS.items()})

    def _write(self, context: Context, values: dict[str, int]) -> None:
        self._within(context, {name: (_COMMANDS[name][1], value) for name, value in values.items()})

    def _within(self, context: Context, requests: dict[str, tuple[int, int]]) -> dict[str, int]:
        def ask() -> dict[str, int]:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                return {name: ethtool_value(sock, self.link, *request) for name, request in requests.items()}

        return context.connection.run(self.netns, ask)


def ethtool_value(sock: socket.socket, link: str, command: int, value: int) -> int:
    """One request with a struct ethtool_value on a link of the socket's namespace; the value after it. OSError."""
    data = array.array("I", (command, value))
    address, _ = data.buffer_info()
    fcntl.ioctl(sock, _SIOCETHTOOL, struct.pack("16sP16x", link.encode(), address))
    return data[1]
