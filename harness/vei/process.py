"""What the processes beside the controller have in common: configuration and commands in, events out, an exit code."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from io import FileIO
from typing import Any

from harness.errors import HarnessError

ORPHANED = 3
"""Exit code where the end of the input, and so of the harness, comes before a stop."""


def emit(**event: Any) -> None:
    """One JSON line on standard output."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def serve(run: Callable[[FileIO], None]) -> int:
    """Log to standard error, `run` on standard input until it returns, tell "done" or the error; the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # Without a buffer, whose lock would be held by the reading thread when the interpreter ends.
    stdin = FileIO(sys.stdin.fileno(), closefd=False)
    try:
        run(stdin)
    except HarnessError as error:
        emit(event="error", message=str(error))
        return error.exit_code
    emit(event="done")
    return 0
