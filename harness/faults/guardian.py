"""`python -I -S guardian.py`: has stopped processes go on when the harness is gone.

A stopped process cannot notice the end of its standard input, which ends every other process of the harness. This one
reads lines "PID START_TICKS"; at the end of its input it sends SIGCONT to each process that still is the one meant.
It needs nothing but the standard library, so that it starts at once.
"""

import os
import signal
import sys
from pathlib import Path


def start_ticks(pid: int) -> int:
    """Field 22 of /proc/PID/stat; -1 without such a process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return -1
    return int(text[text.rindex(")") + 2 :].split()[19])


def main() -> None:
    """Read until the end, then let all of them go on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    guarded = [tuple(int(word) for word in line.split()) for line in sys.stdin]
    for pid, ticks in guarded:
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        if start_ticks(pid) == ticks:
            signal.pidfd_send_signal(handle, signal.SIGCONT)
        os.close(handle)


if __name__ == "__main__":
    main()
