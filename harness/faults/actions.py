"""What each action does to its target, and how it is undone. The one place that lists them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping

from harness.errors import HarnessError
from harness.faults.disk import Ballast
from harness.faults.schedule import PROCESSES, Fault
from harness.faults.stage import NoSuchTarget, Stage

Undo = Callable[[], str]
"""Undoes what was done and says so in a few words."""


def kill(stage: Stage, fault: Fault) -> tuple[str, None]:
    """SIGKILL, to the process there is now."""
    process = stage.process(fault.target)
    # Noted first: whoever finds the process gone must find the reason, too.
    stage.killed[fault.target] = fault.describe()
    process.signal(signal.SIGKILL)
    return f"process {process.pid}", None


def stop(stage: Stage, fault: Fault) -> tuple[str, Undo]:
    """SIGSTOP, and SIGCONT to the same process."""
    process = stage.process(fault.target)
    process.signal(signal.SIGSTOP)

    def go_on() -> str:
        process.signal(signal.SIGCONT)
        return f"process {process.pid} goes on"

    return f"process {process.pid}", go_on


def cut(stage: Stage, fault: Fault) -> tuple[str, Undo]:
    """Take the node's management address out of the fabric's forwarding table; dataplane addresses stay."""
    stage.fabric.cut_management(fault.node)

    def restore() -> str:
        stage.fabric.restore_management(fault.node)
        return "forwarded again"

    return f"nothing is forwarded to the {fault.node}'s management address", restore


def fill(stage: Stage, fault: Fault) -> tuple[str, Undo]:
    """Fill the file system of the run's folder to the last byte."""
    if stage.disk is None:
        raise NoSuchTarget("the run's folder has no file system of its own")
    ballast = Ballast(stage.disk)
    filled_bytes = ballast.fill()

    def release() -> str:
        ballast.release()
        return "room again"

    return f"{filled_bytes} bytes of ballast", release


Act = Callable[[Stage, Fault], tuple[str, Undo | None]]

ACTS: Mapping[tuple[str, str], Act] = {
    **{(target, "kill"): kill for target in PROCESSES},
    **{(target, "stop"): stop for target in PROCESSES},
    ("management", "cut"): cut,
    ("disk", "fill"): fill,
}
"""By target and action; those of streams are carried out by the relays (harness.faults.streams)."""


def carry_out(stage: Stage, fault: Fault) -> tuple[str, Undo | None]:
    """Do it now: what was done in a few words, and how to undo it. HarnessError or OSError where it cannot be done."""
    act = ACTS.get((fault.target, fault.action))
    if act is None:
        raise HarnessError(f"no such fault: {fault.describe()}")
    return act(stage, fault)
