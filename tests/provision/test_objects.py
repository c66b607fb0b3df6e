"""Records: locked while their writer lives, whatever it dies of, and made anew where a clean came between."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import MachineError
from harness.provision import objects
from harness.provision.objects import RECORD, claim_record, open_record, read_record
from harness.provision.ownership import Ownership

_HOLD = """
import sys
from pathlib import Path
from harness.provision.ownership import Ownership
ownership = Ownership.beside("held", Path(sys.argv[1]))
ownership.intend("link", "x")
print("up", flush=True)
input()
"""


def test_a_record_is_living_exactly_as_long_as_its_writer(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert claim_record(tmp_path / "held" / RECORD) is None
        process.kill()
    descriptor = claim_record(tmp_path / "held" / RECORD)
    assert descriptor is not None
    os.close(descriptor)
    record = read_record(tmp_path / "held" / RECORD)
    assert record.owner is not None
    assert record.owner.has_ended
    assert [item.name for item in record.objects.values()] == ["x"]


def test_a_record_that_is_gone_cannot_be_claimed(tmp_path: Path) -> None:
    assert claim_record(tmp_path / "none" / RECORD) is None
    (tmp_path / "file").write_text("")
    assert claim_record(tmp_path / "file" / RECORD) is None


def test_a_record_held_by_somebody_else_is_refused_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "LOCK_S", 0.05)
    with Ownership.beside("held", tmp_path), pytest.raises(MachineError, match="held by another process"):
        open_record(tmp_path / "held")


def test_a_torn_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "run" / RECORD
    with Ownership.beside("run", tmp_path) as ownership:
        ownership.intend("link", "x")
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": "gone", "num')
    with Ownership.beside("run", tmp_path) as ownership:
        ownership.intend("link", "y")
    assert [item.name for item in read_record(path).objects.values()] == ["x", "y"]
