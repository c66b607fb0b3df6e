"""Real servers on loopback ports with directories of their own, started by the tests and ended by their process id."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import wait_until

ANSWER_S = 30.0
DATABASE = "harness"


def program(name: str, package: str) -> str:
    """Path of an installed program; without it the test is skipped, and fails where nobody would read that."""
    found = shutil.which(name)
    if found is None:
        reason = f"{name} (Debian package {package}) is not installed"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}; .ci/run installs it")
        pytest.skip(reason)
    return found


_OUTGOING_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST_PORT = 10_000


def free_ports(count: int) -> list[int]:
    """Loopback ports nobody listens on, and none that the kernel gives to outgoing connections: while a server is down
    nobody else gets its port, and a client that tries again and again does not connect to itself.
    """
    outgoing = int(_OUTGOING_PORTS.read_text().split()[0])
    places = range(_LOWEST_PORT, max(outgoing, _LOWEST_PORT + 1_000))
    first = os.getpid() * 100 % len(places)
    found: list[int] = []
    for port in (*places[first:], *places[:first]):
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("every port is taken")


class Server:
    """A server that can be stopped and started again on the same data and port."""

    def __init__(self, folder: Path, command: Sequence[str], port: int, ready_path: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._folder, self._command, self._ready_path = folder, command, ready_path
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = self._folder / "server.log"
        with log.open("ab") as file:
            self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, log.read_text()[-2000:]
            try:
                with urllib.request.urlopen(self.url + self._ready_path, timeout=ANSWER_S) as answer:
                    return int(answer.status) < 300
            except OSError:
                return False

        wait_until(ready, f"{self._command[0]} answers")

    def end(self) -> None:
        """Kill it, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(ANSWER_S)
            self.process = None

    def get(self, path: str, **query: str) -> bytes:
        """Body of the answer to a GET."""
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=ANSWER_S) as answer:
            content: bytes = answer.read()
        return content


class InfluxDb1(Server):
    """InfluxDB 1.6, which has no /api/v2/write."""

    def __init__(self, folder: Path) -> None:
        port, other_port = free_ports(2)
        settings = folder / "influxdb.conf"
        settings.write_text(
            f"""reporting-disabled = true
bind-address = "127.0.0.1:{other_port}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
query-log-enabled = false
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
"""
        )
        command = [program("influxd", "influxdb"), "run", "-config", str(settings)]
        super().__init__(folder, command, port, "/ping")

    def create_database(self) -> None:
        """The database the points go to, on the disk: the server answers before it is there."""
        data = urllib.parse.urlencode({"q": f"CREATE DATABASE {DATABASE}"}).encode()
        with urllib.request.urlopen(f"{self.url}/query", data=data, timeout=ANSWER_S) as answer:
            assert answer.status == 200
        stored = self._folder / "meta" / "meta.db"
        wait_until(lambda: DATABASE.encode() in stored.read_bytes(), "the database is on the disk")

    def query(self, text: str) -> list[dict[str, Any]]:
        """Series of the answer to one statement: dicts with name, columns, values and perhaps tags."""
        answer = json.loads(self.get("/query", db=DATABASE, epoch="ns", q=text))["results"][0]
        assert "error" not in answer, f"{text}: {answer['error']}"
        series: list[dict[str, Any]] = answer.get("series", [])
        return series

    def rows(self, measurement: str) -> list[dict[str, Any]]:
        """Every point, tags and fields that it has."""
        return [
            {name: value for name, value in zip(series["columns"], row, strict=True) if value is not None}
            for series in self.query(f'SELECT * FROM "{measurement}"')
            for row in series["values"]
        ]


class VictoriaMetrics(Server):
    """The write path of InfluxDB 2; keeps numbers and milliseconds."""

    def __init__(self, folder: Path) -> None:
        (port,) = free_ports(1)
        command = [
            program("victoria-metrics", "victoria-metrics"),
            f"-httpListenAddr=127.0.0.1:{port}",
            f"-storageDataPath={folder}/data",
            "-search.latencyOffset=0s",
            "-retentionPeriod=100y",
            "-memory.allowedBytes=64MB",
        ]
        super().__init__(folder, command, port, "/health")

    def samples(self, match: str) -> dict[str, list[tuple[int, float]]]:
        """By name of the series: (time in ms, value)."""
        self.get("/internal/force_flush")
        found: dict[str, list[tuple[int, float]]] = {}
        for line in self.get("/api/v1/export", **{"match[]": match}).splitlines():
            series = json.loads(line)
            points = zip(series["timestamps"], series["values"], strict=True)
            found.setdefault(series["metric"]["__name__"], []).extend(points)
        return found
