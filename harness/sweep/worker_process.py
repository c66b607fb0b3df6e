"""`python -m harness.sweep.worker_process`: a Dask worker on a host, for one testbed.

The first line of its standard input is {"scheduler", "name", "address", "contact", "keys"}; the end of its input ends
it, and the run under way with it. Events, one JSON object per line: {"event": "compiling"}, {"event": "ready",
"address", "port"}, {"event": "error", "message"}.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.doctor.cache import ensure_warm
from harness.errors import HarnessError
from harness.provision.facts import gather_facts
from harness.provision.scratch import scratch_directory
from harness.sweep.dask_settings import configure_dask, worker_of
from harness.sweep.program import configuration_line, emit, input_ended
from harness.sweep.remote_run import end_runs


def main() -> int:
    """Serve until the input ends; exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    configuration = configuration_line()
    configure_dask()
    try:
        gather_facts().require_testbed()
        ensure_warm(lambda _text: emit(event="compiling"))
        with scratch_directory("worker") as folder:
            tempfile.tempdir = str(folder)  # keys pass through a file there when they are loaded
            asyncio.run(_serve(configuration, folder))
    except HarnessError as error:
        emit(event="error", message=str(error))
        return error.exit_code
    except (OSError, ValueError, RuntimeError) as error:
        emit(event="error", message=f"the worker cannot serve: {str(error) or type(error).__name__}"[:300])
        return 1
    return 0


async def _serve(configuration: dict[str, Any], folder: Path) -> None:
    worker = worker_of(configuration, folder)
    async with worker:
        emit(event="ready", address=worker.address, port=worker.listener.bound_address[1])
        ends = [asyncio.ensure_future(end) for end in (input_ended(), worker.finished())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            # The worker's thread waits for its run: nothing ends before that does.
            await asyncio.get_running_loop().run_in_executor(None, end_runs)


if __name__ == "__main__":
    sys.exit(main())
