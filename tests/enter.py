"""Runs a command with the privileges a testbed needs, as whoever it is: `python tests/enter.py COMMAND...`.

Root's commands run as they are, an ordinary user's in a user namespace, as `harness` itself would enter it. Where the
kernel forbids that, the command runs without: its tests are then skipped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.provision.kernel import ROOTLESS_VARIABLE
from harness.provision.unprivileged import names_of_this_process, program, refusal


def main(command: list[str]) -> int:
    if os.geteuid() == 0:
        os.execvp(command[0], command)
    os.environ[ROOTLESS_VARIABLE] = str(names_of_this_process())
    with program():
        if refusal():
            sys.stderr.write(f"without root, {refusal()}\n")
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the command, which has the same terminal
        return subprocess.call(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
