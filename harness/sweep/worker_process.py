"""`python -m harness.sweep.worker_process`: a Dask worker on a host, for one testbed.

The first line of its standard input is its configuration with the keys of this sweep; the end of its input ends it, and
the run under way with it. Events, one JSON object per line: {"event": "ready", "address"}, {"event": "error",
"message"}.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import tempfile
import threading
from typing import Any

from harness.doctor.cache import ensure_warm
from harness.errors import HarnessError
from harness.sweep.remote_run import STARTED, end

RESOURCE = "testbed"
"""What every run needs one of, and every host has one of."""


def main() -> int:
    """Serve until the input ends; exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    configuration = json.loads(sys.stdin.readline())
    threading.Thread(target=_watch_input, daemon=True).start()
    try:
        from harness.provision.facts import gather_facts

        gather_facts().require_testbed()
        ensure_warm(lambda text: _emit(event="warming", message=text))
    except HarnessError as error:
        _emit(event="error", message=str(error))
        return error.exit_code
    with tempfile.TemporaryDirectory(prefix="slim-harness-worker-") as folder:
        try:
            asyncio.run(_serve(configuration, folder))
        except (OSError, ValueError, RuntimeError, TimeoutError) as error:
            _emit(event="error", message=f"{type(error).__name__}: {error}"[:300])
            return 1
    return 0


async def _serve(configuration: dict[str, Any], folder: str) -> None:
    from distributed import Worker
    from distributed.security import Security

    security = Security(require_encryption=True, **configuration["security"]) if configuration["security"] else None
    worker = Worker(
        configuration["scheduler"],
        nthreads=1,
        name=configuration["name"],
        host=configuration["address"],
        resources={RESOURCE: 1},
        security=security,
        local_directory=folder,
        dashboard=False,
        memory_limit=0,
        death_timeout=configuration["death_timeout_s"],
    )
    async with worker:
        _emit(event="ready", address=worker.address)
        await worker.finished()


def _emit(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _watch_input() -> None:
    sys.stdin.read()
    for process in list(STARTED):
        end(process)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
