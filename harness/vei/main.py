"""The process of an instance: configuration on standard input, events as JSON lines on standard output.

Events: {"event": "ready", "control_port", "image", "version", "scheduler"}, {"event": "done"} after a stop request,
{"event": "error", "message"}. The end of standard input means that the harness is gone: the process exits at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from harness.dataplane.instance import MODE_ACTIVE, Instance, InstanceSettings
from harness.errors import UsageError
from harness.migration.tls import Tls
from harness.vei.config import VeiConfig, parse_config
from harness.vei.control import ControlServer
from harness.vei.image import load_image
from harness.vei.ports import open_port
from harness.vei.process import ORPHANED, emit, serve
from harness.vei.requests import Identity, RequestHandler
from harness.vei.state import InstanceState


def prepare(folders: Sequence[str]) -> None:
    """Load the compiled code of these images, so that processes forked from this one have it. No thread is started.

    An image that does not load is left to the instance that asks for it.
    """
    for folder in folders:
        with contextlib.suppress(Exception):  # it may be anybody's code
            load_image(Path(folder), {}, 0)


def main() -> int:
    """Run until told to stop; returns the exit code."""
    return serve(lambda stdin: run(parse_config(stdin.readline()), stdin))


def run(config: VeiConfig, stdin: FileIO) -> None:
    """Serve until a stop request. Raises HarnessError where the instance cannot start."""
    stopping = threading.Event()
    threading.Thread(target=_watch_stdin, args=(stdin, stopping), name="stdin", daemon=True).start()
    image = load_image(config.image_directory, config.parameters, config.table_seed)
    if image.name != config.image:
        raise UsageError(f"{config.image_directory} is image {image.name}, {config.image} was asked for")
    state = InstanceState(image.tables)
    sockets = [open_port(port, config.receive_buffer_bytes) for port in config.ports]
    instance = Instance(image, sockets, _settings(config))
    instance.start()
    # Nothing is there to be taken: this compiles the call, or loads it from the cache, before it is needed.
    instance.take_statelets(np.zeros(64, np.uint8), 0)
    ready = {
        "image": image.name,
        "version": image.version,
        "scheduler": instance.scheduler,
        "pid": os.getpid(),
        "reasons": image.reasons,
    }
    try:
        if config.role == "element":
            instance.set_mode(MODE_ACTIVE)
            emit(event="ready", control_port=None, **ready)
            stopping.wait()
        else:
            _serve(config, instance, state, stopping, ready)
    finally:
        instance.close()


def _serve(
    config: VeiConfig, instance: Instance, state: InstanceState, stopping: threading.Event, ready: dict[str, Any]
) -> None:
    assert config.management_address is not None
    secret = bytes.fromhex(config.secret)
    instance.set_drain_token(bytes.fromhex(config.drain_token))
    tls = None if config.tls is None else Tls(config.tls.party())
    server = ControlServer(config.management_address, config.control_port, secret, tls)
    identity = Identity(config.role, secret, config.management_address, config.st_q_in_packets, tls)
    handler = RequestHandler(instance, state, identity, server.notify, stopping, lambda: server.refused)
    control = threading.Thread(target=server.serve, args=(handler.handle, handler.controller_lost), name="control")
    control.start()
    emit(event="ready", control_port=server.port, **ready)
    stopping.wait()
    server.close()
    control.join()
    handler.close()


def _watch_stdin(stdin: FileIO, stopping: threading.Event) -> None:
    """Commands from the harness; its end is ours, whatever else is going on."""
    for line in stdin:
        try:
            command = json.loads(line)
        except ValueError:
            command = None
        if command == {"command": "stop"}:
            stopping.set()
        else:
            emit(event="error", message='unknown command on standard input; there is only {"command": "stop"}')
    if not stopping.is_set():
        os._exit(ORPHANED)


def _settings(config: VeiConfig) -> InstanceSettings:
    return InstanceSettings(
        latency_ns=config.latency_ns,
        tick_ns=config.tick_ns,
        burst_packets=config.burst_packets,
        pkt_q_packets=config.pkt_q_packets,
        delay_packets=config.delay_packets,
        st_q_out_packets=config.st_q_out_packets,
        slot_bytes=config.slot_bytes,
        scheduler=config.scheduler,
        trace_path=config.trace_path,
        status_path=config.status_path,
    )
