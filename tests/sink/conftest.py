from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

VARIABLES = ("URL", "ORG", "BUCKET", "TOKEN", "TOKEN_FILE", "SSL_CA_CERT")


@pytest.fixture(autouse=True)
def no_server_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(f"INFLUXDB_V2_{name}", raising=False)


def point(number: int) -> bytes:
    return b"traffic,mode=none,profile=p,run_id=r1 sent_packets=%di %d\n" % (number, 1_700_000_000_000_000_000 + number)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """Makes the folder of a run below an experiment, with so many points or the given lines."""

    def make(name: str = "01-none", points: int = 0, lines: bytes = b"") -> Path:
        folder = tmp_path / "experiment" / name
        folder.mkdir(parents=True)
        (folder / "points.lp").write_bytes(b"".join(map(point, range(points))) + lines)
        return folder

    return make


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpServer:
    """A server on a loopback port that answers as `answer` says: (status, headers, body)."""

    url: str = ""
    version: str | None = "v2.7.1"
    requests: list[Request] = field(default_factory=list)
    stored: list[bytes] = field(default_factory=list)
    answer: Callable[[Request], tuple[int, dict[str, str], str]] | None = None
    hold: threading.Event = field(default_factory=threading.Event)
    """Set while requests are answered; cleared, they wait."""

    def reply(self, request: Request) -> tuple[int, dict[str, str], str]:
        self.requests.append(request)
        self.hold.wait(60)
        if request.path == "/ping":
            return 204, {"X-Influxdb-Version": self.version} if self.version else {}, ""
        status, headers, text = self.answer(request) if self.answer else (204, {}, "")
        if status == 204:
            self.stored += request.body.splitlines(keepends=True)
        return status, headers, text

    @property
    def writes(self) -> list[Request]:
        return [request for request in self.requests if request.method == "POST"]


@pytest.fixture
def http_server() -> Iterator[HttpServer]:
    server = HttpServer()
    server.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            request = Request(self.command, parts.path, parse_qs(parts.query), dict(self.headers.items()), body)
            status, headers, text = server.reply(request)
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())
            except OSError:
                pass  # the client has given up

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{listener.server_port}"
    yield server
    server.hold.set()
    listener.shutdown()
    listener.server_close()
    thread.join(10)


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
