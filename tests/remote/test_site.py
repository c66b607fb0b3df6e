"""What another host says is looked at before it is believed."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import HarnessError, ProtocolError
from harness.provision.facts import gather_facts
from harness.remote.site import RemoteSite
from harness.testbed.site import SiteLost
from harness.testbed.topology import Topology

Answers = dict[str, Any]


class Host:
    """A host that answers whatever it is told to."""

    def __init__(self, answers: Answers) -> None:
        self.host = SimpleNamespace(name="alpha", title="alpha (root@192.0.2.1:22)")
        self.answers: Answers = {
            "facts": {**asdict(gather_facts()), "python": "3.11.2", "host_name": "alpha"},
            "clock": {"monotonic_ns": 10**12},
            "open_folder": {"folder": "/tmp/there/01-statelet"},
            "close_folder": {},
            **answers,
        }
        self.lost = ""
        self.heard: Callable[[dict[str, Any]], None] = lambda _message: None

    def call(self, name: str, deadline_s: float = 1.0, **arguments: Any) -> dict[str, Any]:
        answer = self.answers[name]
        result: dict[str, Any] = answer(**arguments) if callable(answer) else answer
        return result

    def hear(self, heard: Callable[[dict[str, Any]], None]) -> None:
        self.heard = heard


def site(folder: Path | None = None, **answers: Any) -> tuple[RemoteSite, Host]:
    host = Host(answers)
    made = RemoteSite(host)  # type: ignore[arg-type]
    if folder is not None:
        made.open_folder(folder)
    return made, host


def encoded(content: bytes) -> dict[str, str]:
    return {"content": base64.b64encode(content).decode()}


def test_files_are_fetched_piece_by_piece_but_for_pages(tmp_path: Path) -> None:
    content = bytes(range(100))
    made, _ = site(
        tmp_path,
        files={"files": {"source.trace": 100, "logs/source.log": 0, "source.status": 8}},
        fetch=lambda path, offset: encoded(content[offset : offset + 40]),
    )
    made.collect()
    assert (tmp_path / "source.trace").read_bytes() == content
    assert (tmp_path / "logs" / "source.log").read_bytes() == b""
    assert not (tmp_path / "source.status").exists()
    made.collect()  # there is nothing more


@pytest.mark.parametrize(
    "name", ["../summary.json", "/etc/passwd", "a/b/c", ".hidden", "logs/..", "", "a\nb", "logs//x", "-x/y"]
)
def test_a_file_never_lands_outside_the_run_s_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    made, _ = site(folder, files={"files": {name: 1}}, fetch=encoded(b"x"))
    with pytest.raises(ProtocolError, match=r"host alpha .*: files: an answer that is none"):
        made.collect()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "answers",
    [
        {"files": {"files": ["source.trace"]}},
        {"files": {"files": {"x": -1}}},
        {"files": {"files": {"x": 1 << 60}}},
        {"files": {"files": {"x": "1"}}},
        {"files": {"files": {f"f{i}": 0 for i in range(1000)}}},
        {"files": {"files": {"x": 9}}, "fetch": encoded(b"")},
        {"files": {"files": {"x": 9}}, "fetch": {"content": "?"}},
        {"files": {"files": {"x": 9}}, "fetch": {}},
    ],
)
def test_nonsense_about_files_is_refused(tmp_path: Path, answers: Answers) -> None:
    made, _ = site(tmp_path, **answers)
    with pytest.raises(ProtocolError, match="an answer that is none"):
        made.collect()


def test_pages_are_what_the_host_last_said(tmp_path: Path) -> None:
    words = [7]
    made, _ = site(
        tmp_path,
        read=lambda pages: {"pages": [base64.b64encode(words[0].to_bytes(8, "little") * 4).decode() for _ in pages]},
    )
    page = made.page(tmp_path / "source.status", 4)
    assert page.tolist() == [7] * 4
    words[0] = 9
    assert page.tolist() == [7] * 4
    made.refresh()
    assert page.tolist() == [9] * 4


@pytest.mark.parametrize("pages", [[], ["AAAA"], ["!"], [None], ["AAAAAAAAAAA="], "AAAAAAAAAAA="])
def test_a_page_that_is_none_is_refused(tmp_path: Path, pages: object) -> None:
    made, _ = site(tmp_path, read={"pages": pages})
    with pytest.raises(ProtocolError, match="read: an answer that is none"):
        made.page(tmp_path / "source.status", 4)


@pytest.mark.parametrize("answer", [{}, {"events": [{}], "recap": {}}, {"events": [], "recap": {"source": 3}}])
def test_a_host_that_cannot_say_what_it_built_is_refused(answer: Answers) -> None:
    made, _ = site(build=answer)
    with pytest.raises(HarnessError, match="build: an answer that is none"):
        made.build(Topology("abcdefg1"), check=True)


def test_a_process_tells_its_events_and_ends_with_its_host(tmp_path: Path) -> None:
    made, host = site(tmp_path, launch={"pid": 4711})
    reactions: list[str] = []
    made.when_lost(lambda: reactions.append("lost"))
    process = made.spawn("source", "source", ["python", "-m", "harness.vei"], {}, tmp_path / "source.log")
    host.heard({"process": 1, "event": {"event": "ready", "control_port": 5}})
    host.heard({"process": 99, "event": {"event": "ready"}})
    host.heard({"process": 1, "event": "nonsense"})
    assert process.wait_event("ready", 1.0)["control_port"] == 5
    assert (process.pid, process.returncode) == (4711, None)
    host.lost = "its connection was closed"
    host.heard({})
    assert process.returncode == 255
    assert process.next_event(1.0) is None
    assert reactions == ["lost"]
    with pytest.raises(SiteLost, match=r"host alpha .*: the connection was lost \(its connection was closed\)"):
        made.require()


def test_a_process_that_ends_by_itself_keeps_its_status(tmp_path: Path) -> None:
    made, host = site(tmp_path, launch={"pid": 1}, stop={"status": 9})
    process = made.spawn("source", "source", ["python", "-m", "harness.vei"], {}, tmp_path / "source.log")
    host.heard({"process": 1, "ended": 3})
    host.heard({})
    assert process.returncode == process.stop() == 3


@pytest.mark.parametrize("answer", [{}, {"pid": "4711"}, {"pid": True}])
def test_a_process_without_a_number_is_refused(tmp_path: Path, answer: Answers) -> None:
    made, _ = site(tmp_path, launch=answer)
    with pytest.raises(ProtocolError, match="launch: an answer that is none"):
        made.spawn("source", "source", ["python", "-m", "harness.vei"], {}, tmp_path / "source.log")


@pytest.mark.parametrize("answer", [{}, {"remote": "192.0.2.1", "link": "lan0", "local": None, "mtu_bytes": 1500}])
def test_a_way_that_is_none_is_refused(answer: Answers) -> None:
    made, _ = site(underlay=answer)
    with pytest.raises(ProtocolError, match=r"host alpha .*: underlay: "):
        made.underlay_route("192.0.2.1")


def test_a_fabric_elsewhere_tells_times_of_this_host_s_clock(tmp_path: Path) -> None:
    steered = {"owner": "source", "started_ns": 5000, "acknowledged_ns": 6000, "settled_ns": 7000, "requests": 4}
    made, host = site(
        steer=steered,
        inject_drain=lambda port_index, sequence, token, deadline_ns: {"sent_ns": 8000 + port_index},
        forwarding={"entries": [["02:00:00:00:00:01", "loadgen"]]},
        owner={"owner": None},
    )
    fabric = made.fabric
    assert fabric.steer("source").started_ns == 5000, "what the clock says is not known yet"
    made.open_folder(tmp_path)
    offset_ns = made.clock().offset_ns
    assert offset_ns != 0
    read = fabric.steer("source")
    assert (read.started_ns, read.acknowledged_ns) == (5000 - offset_ns, 6000 - offset_ns)
    assert (read.settled_ns, read.duration_ns) == (7000 - offset_ns, 1000)
    assert fabric.inject_drain(1, 0, b"token") == 8001 - offset_ns
    assert fabric.forwarding() == [("02:00:00:00:00:01", "loadgen")]
    assert fabric.owner() is None
    host.answers["steer"] = {**steered, "settled_ns": "soon"}
    with pytest.raises(ProtocolError, match=r"host alpha .*: steer: settled_ns: "):
        fabric.steer("source")
