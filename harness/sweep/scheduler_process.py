"""`python -m harness.sweep.scheduler_process`: the Dask scheduler of one sweep, in a process of its own.

The first line of its standard input is {"address", "keys"}; the end of its input ends it. Events, one JSON object per
line: {"event": "ready", "address"}, {"event": "error", "message"}.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from typing import Any

from harness.provision.scratch import scratch_directory
from harness.sweep.dask_settings import LOOPBACK_ANY_PORT, LOST_AFTER_S, configure_dask, security_of
from harness.sweep.program import configuration_line, emit, input_ended


def main() -> int:
    """Serve until the input ends; exit code."""
    configuration = configuration_line()
    configure_dask()
    with scratch_directory("scheduler") as folder:
        tempfile.tempdir = str(folder)  # keys pass through a file there when they are loaded
        try:
            asyncio.run(_serve(configuration))
        except (OSError, ValueError, RuntimeError) as error:
            emit(event="error", message=f"the scheduler cannot serve: {error}"[:300])
            return 1
    return 0


async def _serve(configuration: dict[str, Any]) -> None:
    from distributed import Scheduler

    keys = configuration["keys"]
    scheduler = Scheduler(
        host=configuration["address"],
        port=0,
        protocol="tcp" if keys is None else "tls",
        security=security_of(keys, "scheduler"),
        dashboard=False,
        dashboard_address=LOOPBACK_ANY_PORT,
        allowed_failures=0,
        worker_ttl=f"{LOST_AFTER_S:g}s",
    )
    async with scheduler:
        emit(event="ready", address=scheduler.address)
        await input_ended()


if __name__ == "__main__":
    sys.exit(main())
