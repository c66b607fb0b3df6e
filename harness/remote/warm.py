"""`python -m harness.remote.warm`: compile the packet path for the environment it runs in, and write down where to.

An agent asks that file, which costs nothing, before it asks the compiler.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, MachineError

MARK = "warm"
"""File of the environment: the path of what says that all is compiled."""


def is_warm(environment: Path) -> bool:
    """Whether everything has been compiled for this environment, and is still there."""
    try:
        return Path((environment / MARK).read_text().strip()).is_file()
    except OSError:
        return False


class WarmPart:
    """Compiles in the background; the controller asks until it is done."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def calls(self) -> Mapping[str, Callable[..., dict[str, Any]]]:
        """By name."""
        return {"warm": self.warm}

    def warm(self) -> dict[str, Any]:
        """Whether all is compiled; begin with it where it is not. MachineError when that did not work."""
        if is_warm(Path(sys.prefix)):
            return {"complete": True}
        if self._process is None:
            command = [sys.executable, "-P", "-m", "harness.remote.warm"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
            )
        elif self._process.poll() is not None:
            assert self._process.stderr is not None
            said = self._process.stderr.read().decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise MachineError(f"the packet path does not compile: {said[0][:300]}")
        return {"complete": False}

    def close(self) -> None:
        """End what still compiles, with all it has started."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(10.0)


def main() -> int:
    """Compile; exit code."""
    from harness.doctor.cache import complete_mark, ensure_warm

    try:
        ensure_warm(lambda _text: None)
    except HarnessError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    (Path(sys.prefix) / MARK).write_text(f"{complete_mark()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
