"""The process of an instance: its start, its end, and configurations it cannot work with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# The first start on a machine compiles the packet path.
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.real_root("it opens ports in the machine's own network namespace"),
]

ROOT = Path(__file__).parents[2]
WAIT_S = 15.0


def start(configuration: dict[str, Any]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.vei"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(configuration).encode() + b"\n")
    process.stdin.flush()
    return process


ELEMENT = {
    "image": "latency",
    "image_directory": str(ROOT / "vnf_images" / "latency"),
    "role": "element",
    "ports": [{"interface": "lo", "mac": "02:00:00:00:77:01"}, {"interface": "lo", "mac": "02:00:00:00:77:02"}],
}


def test_the_end_of_standard_input_ends_the_process_at_once() -> None:
    with start(ELEMENT) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert json.loads(process.stdout.readline())["event"] == "ready"
        process.stdin.close()
        assert process.wait(WAIT_S) == 3


def test_a_stop_command_ends_it_in_order() -> None:
    with start(ELEMENT) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert json.loads(process.stdout.readline())["event"] == "ready"
        process.stdin.write(b'what?\n{"command": "stop"}\n')
        process.stdin.flush()
        assert [json.loads(line)["event"] for line in process.stdout] == ["error", "done"]
        assert process.wait(WAIT_S) == 0


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"image": "nat"}, 2, "is image latency, nat was asked for"),
        ({"ports": [{"interface": "nowhere0"}]}, 4, "nowhere0"),
        ({"colour": "blue"}, 2, "colour: Extra inputs"),
        ({"image_directory": "/nowhere"}, 4, "image.toml"),
    ],
)
def test_a_configuration_that_cannot_work_is_one_line(change: dict[str, Any], code: int, message: str) -> None:
    with start({**ELEMENT, **change}) as process:
        assert process.stdout is not None
        event = json.loads(process.stdout.readline())
        assert event["event"] == "error"
        assert message in event["message"]
        assert process.wait(WAIT_S) == code
