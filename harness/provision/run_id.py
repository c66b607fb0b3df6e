"""The name of a run: owner mark and prefix of everything it creates."""

from __future__ import annotations

import re

from harness.errors import UsageError

_RUN_ID = re.compile(r"[a-z][a-z0-9]{7}")


def check_run_id(run_id: str) -> str:
    """The run id itself; UsageError unless it is 8 characters of a-z and 0-9, the first a letter."""
    if not _RUN_ID.fullmatch(run_id):
        raise UsageError(f"run id {run_id!r}: must be 8 characters of a-z and 0-9, the first a letter")
    return run_id
