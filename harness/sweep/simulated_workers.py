"""`python -m harness.sweep.simulated_workers`: many Dask workers in one process, each for a testbed that is not there.

The first line of its standard input is {"scheduler", "address", "keys", "names", "recorded", "summaries_only",
"time_scale"}; the end of its input ends it. Events as harness.sweep.worker_process.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.provision.scratch import scratch_directory
from harness.record.sweep import read_results
from harness.sweep.dask_settings import configure_dask, worker_of
from harness.sweep.program import configuration_line, emit, input_ended
from harness.sweep.simulated_run import Stage, read_recorded, set_stage

STARTED_AT_ONCE = 20


def main() -> int:
    """Serve until the input ends; exit code."""
    configuration = configuration_line()
    configure_dask()
    try:
        results = read_results(Path(configuration["recorded"]))
        recorded = read_recorded(results, configuration["summaries_only"])
        set_stage(Stage(recorded, configuration["time_scale"]))
        with scratch_directory("workers") as folder:
            tempfile.tempdir = str(folder)
            asyncio.run(_serve(configuration, folder))
    except (HarnessError, OSError, ValueError, RuntimeError) as error:
        emit(event="error", message=f"simulated testbeds: {str(error) or type(error).__name__}"[:300])
        return 1
    return 0


async def _serve(configuration: dict[str, Any], folder: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        names = configuration["names"]
        for first in range(0, len(names), STARTED_AT_ONCE):
            some = [
                worker_of({**configuration, "name": name}, folder) for name in names[first : first + STARTED_AT_ONCE]
            ]
            await asyncio.gather(*(stack.enter_async_context(worker) for worker in some))
        emit(event="ready", count=len(names))
        await input_ended()


if __name__ == "__main__":
    sys.exit(main())
