"""The other side of harness.remote.programs: one line of configuration, events, the end of the input."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

CONFIGURATION_BYTES_MAX = 1 << 20


def configuration_line() -> dict[str, Any]:
    """The first line of standard input, read without taking anything after it. ValueError."""
    line = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
        if len(line) > CONFIGURATION_BYTES_MAX:
            raise ValueError("configuration: line too long")
    document = json.loads(line)
    if not isinstance(document, dict):
        raise ValueError("configuration: not an object")
    return document


def emit(**event: Any) -> None:
    """Say something to the program that has started this one."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


async def input_ended() -> None:
    """Wait for the end of standard input."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def look() -> None:
        if not os.read(0, 1 << 10):
            loop.remove_reader(0)
            ended.set()

    loop.add_reader(0, look)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(0)
