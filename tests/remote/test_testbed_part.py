from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError, ProtocolError, UsageError
from harness.provision.state_directory import STATE_VARIABLE
from harness.remote.testbed_part import TestbedPart


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestbedPart]:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    made = TestbedPart(lambda _message: None)
    yield made
    made.close()


def test_files_of_a_run_are_read_and_gone_with_its_end(part: TestbedPart) -> None:
    folder = Path(part.open_folder("01-statelet", 0)["folder"])
    (folder / "source.trace").write_bytes(b"abc")
    (folder / "logs" / "source.log").write_bytes(b"")
    assert part.calls["files"]("01-statelet") == {"files": {"logs/source.log": 0, "source.trace": 3}}
    assert base64.b64decode(part.calls["fetch"]("01-statelet/source.trace", 1)["content"]) == b"bc"
    (page,) = part.calls["read"]([[f"{folder}/source.trace", 2]])["pages"]
    assert base64.b64decode(page) == b"ab"
    part.calls["close_folder"]("01-statelet")
    assert not folder.exists()
    part.close()
    assert not folder.parent.exists()


def test_what_is_given_to_a_run_is_not_brought_back(part: TestbedPart) -> None:
    store = part.calls["store"]
    folder = Path(part.open_folder("01-statelet", 0)["folder"])
    for offset, piece in ((0, b"abc"), (3, b"def")):
        store(f"{folder}/given/traffic.pcap", offset, base64.b64encode(piece).decode())
    assert (folder / "given" / "traffic.pcap").read_bytes() == b"abcdef"
    store(f"{folder}/given/traffic.pcap", 0, "")
    assert (folder / "given" / "traffic.pcap").read_bytes() == b"", "the first piece makes it anew"
    assert part.calls["files"]("01-statelet") == {"files": {}}
    for path in ("01-statelet/source.trace", "01-statelet/given", "01-statelet/given/../x", "01-statelet/given/a/b"):
        with pytest.raises(UsageError, match="not in 'given' of the run's folder"):
            store(path, 0, "")
    with pytest.raises(ProtocolError, match="content is no base64"):
        store(f"{folder}/given/x", 0, "?")


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", ".", "01-statelet/../..", "01-statelet/way/out"])
def test_nothing_but_the_folder_of_a_run_is_read_or_removed(part: TestbedPart, path: str) -> None:
    folder = Path(part.open_folder("01-statelet", 0)["folder"])
    (folder / "way").symlink_to("/etc")
    for call in (
        lambda: part.calls["fetch"](path, 0),
        lambda: part.calls["read"]([[path, 8]]),
        lambda: part.calls["close_folder"](path),
        lambda: part.open_folder(path, 0),
    ):
        with pytest.raises(UsageError, match="not in the folder of a run"):
            call()
    assert folder.is_dir()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"module": "http.server"}, "no program 'http.server'"),
        ({"process": 0}, "launch: process: "),
        ({"title": "../../x"}, "launch: title: "),
        ({"configuration": "all"}, "launch: configuration: "),
        ({"argv": ["sh"]}, "launch: argv: "),
    ],
)
def test_only_our_own_programs_are_started(part: TestbedPart, changed: dict[str, Any], said: str) -> None:
    asked = {"process": 1, "node": "source", "title": "source", "module": "harness.vei", "configuration": {}}
    with pytest.raises(ProtocolError, match=said):
        part.launch(**{**asked, **changed})


def test_what_is_wrong_with_a_configuration_is_told_without_it(part: TestbedPart) -> None:
    with pytest.raises(ProtocolError) as refused:
        part.launch(process=1, node="source", title="source", module="harness.vei", configuration="secret-key")
    assert "secret-key" not in str(refused.value)


def test_without_nodes_there_is_nothing_to_count_or_start(part: TestbedPart) -> None:
    for call in (
        part.counters,
        lambda: part.command(1, {}),
        lambda: part.stop(1, 1.0),
        lambda: part.calls["files"]("x"),
        lambda: part.calls["steer"]("source"),
        lambda: part.calls["inject_drain"](0, 0, "00", 1),
        lambda: part.calls["cut_management"]("fabric"),
        lambda: part.calls["set_link"]("source", True),
    ):
        with pytest.raises(HarnessError):
            call()
    part.tear_down()
