"""SIGINT and SIGTERM become one exception in the main thread, once, so that tear-down runs and is not itself cut
short.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The user or the system asked the program to end; exit code 130."""

    exit_code = 130

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signal_number).name}")
        self.signal_number = signal_number


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the block the first SIGINT or SIGTERM raises Interrupted; later ones are ignored until the block ends.

    Use it in the main thread, around set-up and tear-down together: with the tear-down in a `finally` inside the
    block a second signal cannot stop it.
    """
    raised = False

    def handle(signal_number: int, _frame: FrameType | None) -> None:
        nonlocal raised
        if not raised:
            raised = True
            raise Interrupted(signal_number)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
