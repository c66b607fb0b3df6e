"""`python -m harness.remote.agent`: our code on a host, spoken to over its standard input and output.

Frames (harness.remote.frames). First from here: {"hello": version, "digest", "pid", "host"}. Requests {"id", "call",
"arguments"} are answered in order by {"id", "result"} or {"id", "error", "exit_code"}. It listens on nothing. It ends
when its input does, after the programs it was asked to start, and then undoes all it has made.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, BinaryIO, Protocol

from harness import __version__
from harness.errors import HarnessError, ProtocolError
from harness.remote.frames import FrameReader, pack
from harness.remote.programs import end_started, own_address, program_event, start
from harness.remote.wheel import make_wheel

_READ_BYTES = 1 << 16

log = logging.getLogger(__name__)


def _facts() -> dict[str, Any]:
    from harness.provision.facts import gather_facts

    return {**asdict(gather_facts()), "python": platform.python_version(), "host_name": platform.node()}


def _require_testbed() -> dict[str, Any]:
    """Whether the testbed can be built here; MachineError says what is missing."""
    from harness.provision.facts import gather_facts

    gather_facts().require_testbed()
    return {}


def _clock() -> dict[str, Any]:
    """What harness.remote.clock_offset asks for."""
    return {"monotonic_ns": time.monotonic_ns()}


CALLS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "clock": _clock,
    "facts": _facts,
    "require_testbed": _require_testbed,
    "own_address": own_address,
    "start": start,
    "program_event": program_event,
}
"""What an agent does beside its parts."""


class Part(Protocol):
    """Calls of an agent that do leave something behind, and the way to undo it."""

    @property
    def calls(self) -> Mapping[str, Callable[..., dict[str, Any]]]:
        """By name."""

    def close(self) -> None:
        """Undo everything. HarnessError."""


def make_parts() -> list[Part]:
    """All of them, in the order in which they may depend on each other; nothing is done yet."""
    from harness.remote.task_part import TaskPart

    return [TaskPart()]


def answer(request: Mapping[str, Any], calls: Mapping[str, Callable[..., dict[str, Any]]] = CALLS) -> dict[str, Any]:
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
    hello = {"hello": __version__, "digest": make_wheel().digest, "pid": os.getpid(), "host": platform.node()}
    _send(sink, hello)
    parts = make_parts()
    calls = dict(CALLS)
    for part in parts:
        calls.update(part.calls)
    try:
        reader = FrameReader()
        while data := source.read1(_READ_BYTES):  # type: ignore[attr-defined]
            reader.feed(data)
            while (request := reader.next_message()) is not None:
                _send(sink, answer(request, calls))
    finally:
        for part in reversed(parts):
            try:
                part.close()
            except Exception:  # the rest must be undone, too; what is left is recorded for `harness clean`
                log.exception("undoing")


def _send(sink: BinaryIO, message: dict[str, Any]) -> None:
    # Who is not there any more is told nothing; the end of the input says the same.
    with contextlib.suppress(BrokenPipeError):
        sink.write(pack(message))
        sink.flush()


def _terminated(number: int, _frame: object) -> None:
    """End as at the end of the input; once, so that undoing is not itself cut short."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


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
