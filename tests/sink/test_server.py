from __future__ import annotations

import base64
import logging
import socket

import pytest

from harness.sink.reply import Refused, Rejected, Unavailable
from harness.sink.server import InfluxServer, endpoint_for
from harness.sink.target import Target
from tests.sink.conftest import point

TOKEN = "token-of-the-test-XYZ"
TIMEOUTS_S = (5.0, 60.0)


def connect(server, token=TOKEN, org="o", timeouts_s=TIMEOUTS_S):
    return InfluxServer(Target(server.url, org, "b"), token, timeouts_s=timeouts_s)


@pytest.mark.parametrize(
    ("version", "path", "name"),
    [
        ("1.6.7~rc0", "/write", "db"),
        ("1.7.11", "/write", "db"),
        ("1.8.10", "/api/v2/write", "bucket"),
        ("v2.7.1", "/api/v2/write", "bucket"),
        ("3.0.1", "/api/v2/write", "bucket"),
        (None, "/api/v2/write", "bucket"),
        ("unknown", "/api/v2/write", "bucket"),
    ],
)
def test_the_endpoint_follows_the_version_and_is_always_in_ns(version, path, name):
    endpoint = endpoint_for(version, Target("http://h", "o", "b"))
    assert endpoint.path == path
    assert dict(endpoint.query)[name] == "b"
    assert dict(endpoint.query)["precision"] == "ns"


def test_influxdb_2_without_an_organisation_is_refused_before_it_rejects_every_line():
    with pytest.raises(Refused, match="INFLUXDB_V2_ORG"):
        endpoint_for("v2.7.1", Target("http://h"))


def test_lines_arrive_whole_with_the_token_in_the_header_only(http_server):
    server = connect(http_server)
    server.write(point(1) + point(2))
    server.write(point(3))
    server.close()
    assert http_server.stored == [point(1), point(2), point(3)]
    assert [request.path for request in http_server.requests] == ["/ping", "/api/v2/write", "/api/v2/write"]
    (first, _) = http_server.writes
    assert first.query == {"org": ["o"], "bucket": ["b"], "precision": ["ns"]}
    assert first.headers["Authorization"] == f"Token {TOKEN}"
    assert first.headers["Content-Encoding"] == "gzip"


def test_influxdb_1_gets_user_and_password(http_server):
    http_server.version = "1.6.7"
    connect(http_server, "me:secret").write(point(1))
    (request,) = http_server.writes
    assert request.path == "/write"
    assert request.query == {"db": ["b"], "precision": ["ns"]}
    assert request.headers["Authorization"] == f"Basic {base64.b64encode(b'me:secret').decode()}"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Rejected), (422, Rejected), (401, Refused), (404, Refused), (200, Refused), (503, Unavailable)],
)
def test_a_reply_is_raised_with_its_reason_and_without_the_token(http_server, caplog, capfd, status, kind):
    caplog.set_level(logging.DEBUG)
    http_server.answer = lambda request: (status, {}, f'{{"message":"no: {request.headers["Authorization"]}"}}')
    with pytest.raises(kind) as raised:
        connect(http_server).write(point(1))
    assert TOKEN not in str(raised.value)
    if status != 200:
        assert str(raised.value) == f"no: Token <token> (HTTP {status})"
    assert TOKEN not in caplog.text + "".join(capfd.readouterr())


def test_a_redirect_is_not_followed(http_server):
    http_server.answer = lambda _: (307, {"Location": f"{http_server.url}/elsewhere"}, "")
    with pytest.raises(Refused, match="307"):
        connect(http_server).write(point(1))
    assert len(http_server.writes) == 1


def test_a_restarted_server_of_another_version_is_asked_again(http_server):
    http_server.answer = lambda request: (204 if request.path == "/write" else 404, {}, "404 page not found")
    server = connect(http_server)
    with pytest.raises(Refused, match="page not found"):
        server.write(point(1))
    http_server.version = "1.6.7"
    server.write(point(1))
    assert http_server.stored == [point(1)]


def test_silence_ends_at_the_deadline(http_server):
    http_server.hold.clear()
    with pytest.raises(Unavailable, match="no answer in time"):
        connect(http_server, timeouts_s=(5.0, 0.1)).write(point(1))


def test_a_server_that_is_starting_is_unavailable_in_one_line(http_server, monkeypatch):
    monkeypatch.setattr(http_server, "reply", lambda _: (503, {}, "starting\nup"))
    with pytest.raises(Unavailable, match=r"^starting up$"):
        connect(http_server).write(point(1))


def test_nobody_there_is_unavailable():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server = InfluxServer(Target(f"http://127.0.0.1:{unused.getsockname()[1]}"), "")
        with pytest.raises(Unavailable, match="refused"):
            server.write(point(1))


def test_what_does_not_speak_http_is_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = InfluxServer(Target(f"http://127.0.0.1:{listener.getsockname()[1]}"), "", timeouts_s=(5.0, 20.0))
        # Queued in the listening socket: accepted and answered once the client has written.
        import threading

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-something\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Unavailable):
            server.write(point(1))
        thread.join(10)
