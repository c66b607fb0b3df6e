"""Scheduling of threads that carry packets."""

from __future__ import annotations

import ctypes
import os

from harness.errors import MachineError

_PR_SET_TIMERSLACK = 29
DATAPLANE_PRIORITY = 10
"""SCHED_FIFO priority of dataplane threads: above everything ordinary, far below the kernel's own threads."""


def set_dataplane_scheduling(scheduler: str) -> str:
    """Give the calling thread exact timers and, for "fifo" or "auto", SCHED_FIFO; returns what it got.

    "fifo" raises MachineError where it is not permitted, "auto" then carries on as "other".
    """
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)
    if scheduler == "other":
        return "other"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(DATAPLANE_PRIORITY))
    except OSError as error:
        if scheduler == "fifo":
            raise MachineError(
                "dataplane.scheduler fifo: SCHED_FIFO needs CAP_SYS_NICE or a real-time limit (ulimit -r) of "
                f"{DATAPLANE_PRIORITY}; use auto or other"
            ) from error
        return "other"
    return "fifo"


def leave_dataplane_scheduling() -> None:
    """Back to ordinary scheduling for work that must not hold up anybody else's packets."""
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
