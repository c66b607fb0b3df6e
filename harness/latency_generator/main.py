"""The process of the latency generator: configuration on standard input, events as JSON lines on standard output.

Events: {"event": "ready", "scheduler", "pid"}; {"event": "conditions", "number", "applied_ns"} after each
{"command": "conditions", "number", "node", "direction", "conditions"}; {"event": "done"} after {"command": "stop"};
{"event": "error", "message"}. The end of standard input means that the harness is gone: the process exits at once.
"""

from __future__ import annotations

import json
import os
import threading
from io import FileIO

from harness.dataplane.element.element import Element
from harness.errors import HarnessError, UsageError
from harness.latency_generator.config import DOWN, UP, GeneratorConfig, parse_command, parse_config
from harness.vei.ports import open_port
from harness.vei.process import ORPHANED, emit, serve

_STOP = {"command": "stop"}


def main() -> int:
    """Run until told to stop; returns the exit code."""
    return serve(lambda stdin: run(parse_config(stdin.readline()), stdin))


def run(config: GeneratorConfig, stdin: FileIO) -> None:
    """Serve until a stop command. Raises HarnessError where the generator cannot start."""
    sockets = [
        open_port(port, config.receive_buffer_bytes) for link in config.links for port in (link.outer, link.inner)
    ]
    try:
        element = Element(sockets, config.settings())
    except (ValueError, MemoryError, OSError) as error:
        raise HarnessError(f"latency generator: {error or 'not enough memory for its queues'}") from error
    try:
        for number, link in enumerate(config.links):
            element.set_conditions(2 * number + DOWN, link.down.conditions())
            element.set_conditions(2 * number + UP, link.up.conditions())
        element.start()
        stopping = threading.Event()
        obey = threading.Thread(target=_obey, args=(config, element, stdin, stopping), name="stdin", daemon=True)
        emit(event="ready", scheduler=element.scheduler, pid=os.getpid())
        obey.start()
        stopping.wait()
    finally:
        element.close()


def _obey(config: GeneratorConfig, element: Element, stdin: FileIO, stopping: threading.Event) -> None:
    """Commands from the harness; their end is ours, whatever else is going on."""
    for line in stdin:
        if _is_stop(line):
            stopping.set()
            continue
        try:
            number, applied_ns = change_conditions(config, element, line)
        except HarnessError as error:
            emit(event="error", message=str(error))
        else:
            emit(event="conditions", number=number, applied_ns=applied_ns)
    if not stopping.is_set():
        os._exit(ORPHANED)


def _is_stop(line: bytes) -> bool:
    try:
        return bool(json.loads(line) == _STOP)
    except ValueError:
        return False


def change_conditions(config: GeneratorConfig, element: Element, line: bytes) -> tuple[int, int]:
    """Carry out a command; returns its number and since when it holds (CLOCK_MONOTONIC ns). Raises HarnessError."""
    command = parse_command(line)
    nodes = [link.node for link in config.links]
    if command.node not in nodes:
        raise UsageError(f"command to the latency generator: node {command.node!r}: it stands at {', '.join(nodes)}")
    direction = 2 * nodes.index(command.node) + (UP if command.direction == "up" else DOWN)
    return command.number, element.set_conditions(direction, command.conditions.conditions())
