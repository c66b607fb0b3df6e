"""The guest itself: it cannot change the host, and it ends whatever runs in it."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

import pytest

from tests.uml.boot import OUT, ROOT, GuestFailed, boot


def test_only_the_given_directory_of_the_host_changes(folder: Path) -> None:
    name = f"written-in-the-guest-{secrets.token_hex(4)}"
    places = [Path("/usr"), Path("/root"), Path("/tmp"), Path("/run"), Path("/dev/shm"), ROOT, ROOT / "tests", OUT]
    ended = boot(folder, [["touch", str(place / name)] for place in places] + [["uname", "-r"], ["false"]], 60)
    refused = {place for place, one in zip(places, ended, strict=False) if one.exit_status != 0}
    assert refused == {Path("/usr"), Path("/root")}, "a root file system that is written to"
    assert (folder / name).exists()
    assert [place for place in places if (place / name).exists()] == []
    assert ended[-2].output.strip() != os.uname().release, "a kernel of its own"
    assert ended[-1].exit_status == 1


def test_what_does_not_end_is_ended_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    mark = f"SLIM_TEST_MARK={secrets.token_hex(8)}"
    started = time.monotonic()
    with pytest.raises(GuestFailed, match=r"did not end within 12 s[^$]*-- 0.out\nbefore"):
        boot(tmp_path, [["sh", "-c", f"echo before; {mark} exec sleep 1000"]], 12)
    assert time.monotonic() - started < 30
    left = [line for line in command_lines() if str(tmp_path) in line or mark in line]
    assert left == []


def command_lines() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:  # it has ended meanwhile
                continue
    return found
