"""`python -m harness.remote.agent`: our code on a host, spoken to over its standard input and output.

Frames (harness.remote.frames). First from here: {"hello": version, "digest", "pid", "host"}. Requests {"id", "call",
"arguments"} are answered in order by {"id", "result"} or {"id", "error", "exit_code"}; in between, frames without "id"
tell what was not asked for. It listens on nothing. It ends when its input does, or when nobody has said anything for
LEASE_S, and then undoes all it has made and ends all it has started.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import queue
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, BinaryIO, Protocol

from harness import __version__
from harness.errors import HarnessError, ProtocolError
from harness.remote.fabric import AT_ONCE as SWITCHOVER
from harness.remote.frames import FrameReader, pack
from harness.remote.programs import end_started, own_address, program_event, start
from harness.remote.wheel import code_digest

LEASE_S = 20.0
"""The other side says something every few seconds; see harness.remote.session."""
LAST_CALL_S = 60.0
"""For the call at work when the controller is gone: beside a task's command nothing is interrupted."""
_READ_BYTES = 1 << 16

Call = Callable[..., dict[str, Any]]

log = logging.getLogger(__name__)


def _facts() -> dict[str, Any]:
    from harness.provision.facts import gather_facts

    return {**asdict(gather_facts()), "python": platform.python_version(), "host_name": platform.node()}


def _require_testbed() -> dict[str, Any]:
    """Whether the testbed can be built here; MachineError says what is missing."""
    from harness.provision.facts import gather_facts

    gather_facts().require_testbed()
    return {}


def _alive() -> dict[str, Any]:
    """Nothing but an answer: whoever asks is still there, and so is the agent."""
    return {}


def _clock() -> dict[str, Any]:
    """What harness.remote.clock_offset asks for."""
    return {"monotonic_ns": time.monotonic_ns()}


CALLS: Mapping[str, Call] = {
    "alive": _alive,
    "clock": _clock,
    "facts": _facts,
    "require_testbed": _require_testbed,
    "own_address": own_address,
    "start": start,
    "program_event": program_event,
}
"""What an agent does beside its parts."""
CANCEL = "cancel_task"
AT_ONCE = ("alive", "clock", CANCEL, *SWITCHOVER)
"""Answered also while another call is at work."""


class Part(Protocol):
    """Calls of an agent that do leave something behind, and the way to undo it."""

    @property
    def calls(self) -> Mapping[str, Call]:
        """By name."""

    def close(self) -> None:
        """Undo everything. HarnessError."""


def make_parts(tell: Callable[[dict[str, Any]], None]) -> list[Part]:
    """All of them, in the order in which they may depend on each other; nothing is done yet. `tell` sends a frame that
    nobody has asked for, from any thread.
    """
    from harness.remote.task_part import TaskPart
    from harness.remote.testbed_part import TestbedPart
    from harness.remote.warm import WarmPart

    return [WarmPart(), TaskPart(), TestbedPart(tell)]


def answer(request: Mapping[str, Any], calls: Mapping[str, Call] = CALLS) -> dict[str, Any]:
    """The answer to one request; an expected failure is an answer too."""
    number = request.get("id")
    call, arguments = request.get("call"), request.get("arguments", {})
    if not isinstance(call, str) or call not in calls or not isinstance(arguments, dict):
        return {"id": number, "error": f"no call {call!r:.80}; there are {', '.join(calls)}", "exit_code": 2}
    try:
        return {"id": number, "result": calls[call](**arguments)}
    except HarnessError as error:
        return {"id": number, "error": str(error), "exit_code": error.exit_code}
    except Exception as error:  # the agent survives what a call does not
        log.exception("call %s", call)
        return {"id": number, "error": f"{call}: {type(error).__name__}: {error}", "exit_code": 1}


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer until the end of the input, then undo what was done. ProtocolError for bytes that are no request."""
    sending = threading.Lock()

    def tell(message: dict[str, Any]) -> None:
        # Who is not there any more is told nothing; the end of the input says the same.
        with sending, contextlib.suppress(BrokenPipeError):
            sink.write(pack(message))
            sink.flush()

    tell({"hello": __version__, "digest": code_digest(), "pid": os.getpid(), "host": platform.node()})
    parts = make_parts(tell)
    calls = dict(CALLS)
    for part in parts:
        calls.update(part.calls)
    # One call at a time and in order; that somebody is there can be asked meanwhile.
    requests: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def work() -> None:
        while (request := requests.get()) is not None:
            tell(answer(request, calls))

    worker = threading.Thread(target=work, name="calls", daemon=True)
    worker.start()
    try:
        reader = FrameReader()
        while data := _read(source.fileno()):
            reader.feed(data)
            while (request := reader.next_message()) is not None:
                if request.get("call") in AT_ONCE:
                    tell(answer(request, calls))
                else:
                    requests.put(request)
    finally:
        requests.put(None)
        answer({"call": CANCEL}, calls)
        worker.join(LAST_CALL_S)
        for part in reversed(parts):
            try:
                part.close()
            except Exception:  # the rest must be undone, too; what is left is recorded for `harness clean`
                log.exception("undoing")


def _terminated(number: int, _frame: object) -> None:
    """End as at the end of the input; once, so that undoing is not itself cut short."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _read(descriptor: int) -> bytes:
    """What has come; nothing at the end of the input, or where the other side is silent for too long."""
    ready, _, _ = select.select([descriptor], [], [], LEASE_S)
    if not ready:
        log.error("nothing was heard of the controller for %g s", LEASE_S)
        return b""
    return os.read(descriptor, _READ_BYTES)


def main() -> int:
    """Serve the controller at the other end of standard input and output; exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    # Whatever prints must not come between the frames.
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # The end of a session ends its programs by a signal where it was not closed in order; what was made is then undone.
    # (Ignored, it would be for all they start, too.)
    signal.signal(signal.SIGHUP, lambda *_: None)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        serve(sys.stdin.buffer, sink)
    except ProtocolError as error:
        log.error("%s", error)
        return error.exit_code
    finally:
        end_started()
    return 0


if __name__ == "__main__":
    sys.exit(main())
