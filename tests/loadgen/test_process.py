from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import UsageError
from loadgen import status
from loadgen.configuration import EchoserverConfiguration, GeneratorConfiguration, parse_configuration
from loadgen.process import CommandThread, LineReader
from loadgen.results import distribution_ns, write_arrays, write_report

GENERATOR = {
    "run": 1,
    "run_directory": "/nowhere",
    "status_path": "/nowhere/status",
    "interface": "up0",
    "mac": "02:00:00:00:00:01",
    "gateway": "10.1.0.1",
    "hosts": ["10.1.1.1"],
    "echo_addresses": ["198.18.1.1"],
    "workload": {"rate_pps": 1000, "duration_ns": 10**9, "flows": 4, "frame_bytes": 512},
}


def test_configuration_has_the_defaults_of_the_topology() -> None:
    configuration = parse_configuration(GeneratorConfiguration, json.dumps(GENERATOR).encode())
    assert (configuration.echo_port, configuration.scheduler, configuration.gateway_mac) == (7, "other", None)
    assert configuration.workload.workload().packets == 1000


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"hots": []}, "hots"),
        ({"run": 65536}, "run"),
        ({"mac": "02:00"}, "mac"),
        ({"hosts": []}, "hosts"),
        ({"hosts": ["10.1.1.1", "x"]}, "hosts.1"),
        ({"interface": "a" * 16}, "interface"),
        ({"tick_ns": 0}, "tick_ns"),
        ({"workload": {**GENERATOR["workload"], "frame_bytes": 73}}, "workload.frame_bytes"),  # type: ignore[dict-item]
        ({"workload": {**GENERATOR["workload"], "frame_bytes": 1515}}, "workload.frame_bytes"),  # type: ignore[dict-item]
        ({"workload": {**GENERATOR["workload"], "rate": 1}}, "workload.rate"),  # type: ignore[dict-item]
        ({"latency_ns": 1}, "latency_ns"),
    ],
)
def test_wrong_configuration_is_one_line_with_the_path_of_the_key(change: dict[str, Any], part: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_configuration(GeneratorConfiguration, json.dumps({**GENERATOR, **change}).encode())
    assert f"configuration: {part}: " in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"\xff"])
def test_input_that_is_no_configuration_is_refused(line: bytes) -> None:
    with pytest.raises(UsageError, match="configuration: input"):
        parse_configuration(EchoserverConfiguration, line)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


def test_lines_are_split_however_they_arrive(pipe: tuple[int, int]) -> None:
    reader = LineReader(pipe[0])
    os.write(pipe[1], b"one\ntw")
    assert reader.line() == b"one"
    os.write(pipe[1], b"o\n\nthree")
    assert [reader.line(), reader.line()] == [b"two", b""]
    os.close(pipe[1])
    assert reader.line() is None


def test_endless_line_is_refused(pipe: tuple[int, int]) -> None:
    writer = threading.Thread(target=lambda: [os.write(pipe[1], bytes(65536)) for _ in range(17)])
    writer.start()
    with pytest.raises(UsageError, match="more than"):
        LineReader(pipe[0]).line()
    writer.join(10)
    os.close(pipe[1])


def test_commands_reach_the_loop_and_wrong_ones_are_refused(pipe: tuple[int, int]) -> None:
    started: list[int] = []
    stopped: list[bool] = []
    thread = CommandThread(LineReader(pipe[0]), started.append, lambda: stopped.append(True))
    start_ns = time.monotonic_ns() + 10**9

    def refused(command: Any, part: str) -> None:
        with pytest.raises(UsageError, match=part):
            thread._obey(command if isinstance(command, bytes) else json.dumps(command).encode())

    refused(b"start", "not JSON")
    refused([], "unknown")
    refused({"cmd": "start"}, "start_ns")
    refused({"cmd": "start", "start_ns": True}, "start_ns")
    refused({"cmd": "start", "start_ns": time.monotonic_ns() - 1}, "from now")
    refused({"cmd": "start", "start_ns": 2**63}, "next hour")
    assert started == []
    thread._obey(json.dumps({"cmd": "start", "start_ns": start_ns}).encode())
    refused({"cmd": "start", "start_ns": start_ns}, "already")
    thread._obey(b'{"cmd": "stop"}')
    assert (started, stopped) == ([start_ns], [True])
    os.close(pipe[1])


def test_page_has_a_word_for_every_name_and_starts_at_zero(tmp_path: Path) -> None:
    path = tmp_path / "status"
    path.write_bytes(b"\xff" * 700)
    page = status.open_page(path)
    assert len(set(status.NAMES.values())) == len(status.NAMES)
    assert all(0 <= word < status.WORDS for word in status.NAMES.values())
    page[status.SENT] = 12345
    seen = np.fromfile(path, np.int64)
    assert (seen.size, seen[status.SENT], seen[status.SLOT_INDEX], seen[status.PHASE]) == (64, 12345, -1, 0)


def test_records_are_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_arrays(tmp_path / "loadgen.npz", {"sent_ns": np.arange(5), "flow": np.zeros(0, np.uint32)})
    write_report(tmp_path / "loadgen.json", {"sent_packets": 5, "rtt_ns": None})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loadgen.json", "loadgen.npz"]
    assert np.load(tmp_path / "loadgen.npz")["sent_ns"].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="JSON"):
        write_report(tmp_path / "bad.json", {"value": float("nan")})
    assert not (tmp_path / "bad.json").exists()


def test_distribution_names_nearest_ranks() -> None:
    assert distribution_ns(np.zeros(0, np.int64)) is None
    assert distribution_ns(np.arange(1, 1001)[::-1]) == {
        "minimum": 1,
        "p50": 500,
        "p90": 900,
        "p99": 990,
        "p99.9": 999,
        "maximum": 1000,
    }
