"""`python -m harness.provision.connections.template_process FD MODULE... -- WORD...`: loads modules once, then becomes
processes. A module with a function `prepare` has it called with the words.

On FD (a SOCK_SEQPACKET socket) it takes requests {"module"} with the descriptors of standard input, output and error
and, if there is a fourth, of a network namespace. It forks, and the child runs the module as `python -m` would, with
everything loaded already. Answers: {"ready": true} once, {"pid"} or {"error"} for each request, {"pid", "status"} for
each end (negative for a signal). It ends when the socket does, also while it loads.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.provision.kernel import setns_network

REQUEST_BYTES = 4096
_COMM_BYTES = 15


def main(arguments: list[str]) -> int:
    """Serve until the other end closes; returns the exit code."""
    # An interrupt at the terminal is for the harness, which ends its processes in its own order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(arguments[0]))
    end = arguments.index("--")
    with ending_with(control):
        for module in arguments[1:end]:
            prepare = getattr(importlib.import_module(_program(module)), "prepare", None)
            if prepare is not None:
                prepare(arguments[end + 1 :])
    gc.collect()
    gc.freeze()  # what is loaded is shared with every child and is never looked through again
    _answer(control, {"ready": True})
    serve(control)
    return 0


@contextmanager
def ending_with(control: socket.socket) -> Iterator[None]:
    """Within the block, the end of the other side is the end of this process, whatever it is doing (fcntl(2), O_ASYNC:
    SIGIO, of which nobody survives who does not handle it). Nothing else may come on the socket meanwhile.
    """
    flags = fcntl.fcntl(control, fcntl.F_GETFL)
    fcntl.fcntl(control, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(control, fcntl.F_SETFL, flags | os.O_ASYNC)
    poll = select.poll()
    poll.register(control, 0)
    if poll.poll(0):
        sys.exit(1)  # it had ended before
    yield
    fcntl.fcntl(control, fcntl.F_SETFL, flags)


def serve(control: socket.socket) -> None:
    """Answer requests and report ends."""
    children: dict[int, int] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor != control.fileno():
                pid = children.pop(descriptor)
                poll.unregister(descriptor)
                os.close(descriptor)
                _answer(control, {"pid": pid, "status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})
                continue
            line, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, 4)
            if not line:
                return
            try:
                pid = os.fork()
            except OSError as error:
                _answer(control, {"error": f"fork: {error.strerror}"})
            else:
                if pid == 0:
                    control.close()
                    for other in children:
                        os.close(other)
                    become(json.loads(line)["module"], descriptors)
                watched = os.pidfd_open(pid)
                children[watched] = pid
                poll.register(watched, select.POLLIN)
                _answer(control, {"pid": pid})
            for descriptor_of_child in descriptors:
                os.close(descriptor_of_child)


def become(module: str, descriptors: list[int]) -> None:
    """In the child: take its standard streams and namespace, run the module, end without returning."""
    status = 1
    try:
        # A new session keeps the terminal's SIGINT away, as for every process of the harness.
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        for target, descriptor in enumerate(descriptors[:3]):
            os.dup2(descriptor, target)
        if len(descriptors) > 3:
            setns_network(descriptors[3])
        for descriptor in descriptors:
            os.close(descriptor)
        Path("/proc/self/comm").write_text(module.rpartition(".")[2][:_COMM_BYTES])
        sys.argv = [module]
        sys.modules.pop(_program(module), None)  # loaded under its own name; now it is the main program
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _program(module: str) -> str:
    """The module that `python -m` runs: of a package its __main__."""
    return f"{module}.__main__" if hasattr(importlib.import_module(module), "__path__") else module


def _answer(control: socket.socket, answer: dict[str, object]) -> None:
    try:
        control.send(json.dumps(answer).encode())
    except OSError:
        sys.exit(1)  # the harness is gone


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
