"""What all our ends of Dask have in common: no page over HTTP, no log of events that grows with the runs, silence."""

from __future__ import annotations

import logging
import resource
import ssl
from pathlib import Path
from typing import Any

RESOURCE = "testbed"
"""What every run needs one of, and every host has one of."""
LOST_AFTER_S = 20.0
"""A worker that has not been heard of for so long is lost; so is a scheduler."""
EVENTS_KEPT = 1000
LOOPBACK_ANY_PORT = "127.0.0.1:0"
"""Dask cannot do without a server for HTTP: it gets no routes, and an address nobody else reaches."""


def configure_dask() -> None:
    """For this process, before anything of Dask is made. It may also have as many connections as the machine allows."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    import dask
    import distributed  # sets its loggers up, each with a level of its own

    assert distributed
    logging.getLogger("asyncio")
    dask.config.set(
        {
            "distributed.scheduler.http.routes": [],
            "distributed.worker.http.routes": [],
            "distributed.admin.low-level-log-length": EVENTS_KEPT,
            "distributed.admin.log-length": EVENTS_KEPT,
            "distributed.diagnostics.nvml": False,
            "distributed.worker.profile.enabled": False,
            "distributed.scheduler.work-stealing": False,  # a run is given to one host
            "distributed.scheduler.active-memory-manager.start": False,  # a result has one place
            # A run takes as long as it takes; the messages of a busy controller may be late.
            "distributed.comm.timeouts.connect": f"{LOST_AFTER_S:g}s",
            "distributed.comm.timeouts.tcp": f"{LOST_AFTER_S:g}s",
        }
    )
    # What concerns the user is told by us, in one line.
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("asyncio", "distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def security_of(keys: dict[str, str] | None, role: str) -> Any:
    """`distributed.Security` of one role ("scheduler", "worker", "client") from {"ca", "cert", "key"} in PEM; None
    without keys."""
    from distributed.security import Security

    if keys is None:
        return None
    named = {"tls_ca_file": keys["ca"], f"tls_{role}_cert": keys["cert"], f"tls_{role}_key": keys["key"]}
    return Security(require_encryption=True, tls_min_version=ssl.TLSVersion.TLSv1_3, **named)


def new_keys() -> dict[str, str]:
    """Keys of one sweep, in memory: whoever has them, and nobody else, speaks with its scheduler and its workers."""
    from distributed.security import Security

    made = Security.temporary()
    return {"ca": made.tls_ca_file, "cert": made.tls_worker_cert, "key": made.tls_worker_key}


def worker_of(configuration: dict[str, Any], folder: Path) -> Any:
    """`distributed.Worker` for one testbed, not started: "scheduler", "name", "address" (the only one it listens on),
    "contact" (where others reach it, if not there), "keys"."""
    from distributed import Worker

    return Worker(
        configuration["scheduler"],
        nthreads=1,
        name=configuration["name"],
        host=configuration["address"],
        contact_address=configuration.get("contact"),
        resources={RESOURCE: 1},
        security=security_of(configuration["keys"], "worker"),
        local_directory=str(folder),
        dashboard=False,
        dashboard_address=LOOPBACK_ANY_PORT,
        memory_limit=0,
        death_timeout=LOST_AFTER_S,
    )
