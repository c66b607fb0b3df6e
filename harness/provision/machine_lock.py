"""One run at a time on a machine, whoever makes it: root and every user hold the same name.

It is the name of an abstract socket (unix(7)): no file whose owner could be somebody else, and the kernel gives it back
with the process. The holder listens, so that the one who is refused can ask the kernel who that is.
"""

from __future__ import annotations

import contextlib
import errno
import pwd
import socket
import struct
from pathlib import Path

from harness.errors import MachineError

NAME = "slim-harness"
_COMMAND_CHARACTERS = 200


class MachineLock:
    """The lock while it is held. MachineError naming the holder when it is somebody else's. Use it from a thread that
    is in the machine's own network namespace, to which such names belong.
    """

    def __init__(self, name: str = NAME) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(f"\0{name}".encode())
            self._socket.listen(8)
        except OSError as error:
            self._socket.close()
            if error.errno != errno.EADDRINUSE:
                raise MachineError(f"lock of this machine: {error.strerror}") from error
            raise MachineError(
                f"another run is active on this machine: {describe_holder(name)}; wait for it or end it"
            ) from None

    def release(self) -> None:
        """Give it back. Doing it twice is no error."""
        self._socket.close()


def is_held(name: str = NAME) -> bool:
    """Whether somebody holds the lock."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(f"\0{name}".encode())
        except OSError:
            return True
    return False


def describe_holder(name: str = NAME) -> str:
    """Process, user and command line of the holder, as far as they can be told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(f"\0{name}".encode())
            pid, uid, _ = struct.unpack("iII", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        except OSError:
            return "its process cannot be told"
    user, command = str(uid), ""
    with contextlib.suppress(KeyError):
        user = pwd.getpwuid(uid).pw_name
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        # Another user decides what stands there: nothing of it may act on a terminal.
        command = "".join(character if character.isprintable() else "?" for character in words).strip()
    return f"process {pid} of user {user}" + (f" ({command[:_COMMAND_CHARACTERS]})" if command else "")
