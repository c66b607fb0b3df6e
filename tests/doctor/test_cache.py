"""Whether the cache of compiled code is taken for warm: only for the very files that were compiled."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from harness.dataplane import jit
from harness.doctor import cache

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every filling of a cache in a directory of the test; the compiler itself is asked for nothing."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    done: list[str] = []

    def fill() -> Path:
        done.append(cache.files_stamp())
        cache.complete_mark().touch()
        return tmp_path / "cache"

    monkeypatch.setattr(cache, "warm_cache", fill)
    return done


def test_it_is_filled_once(filled: list[str]) -> None:
    said: list[str] = []
    for _ in range(3):
        cache.ensure_warm(said.append)
    assert len(filled) == len(said) == 1


@pytest.mark.parametrize("mark", [b"", b"\xff\xfe", b"other files"])
def test_what_was_filled_for_other_files_is_not_trusted(filled: list[str], tmp_path: Path, mark: bytes) -> None:
    (tmp_path / "cache").mkdir()
    for name in ("complete", "complete-0123456789abcdef"):
        (tmp_path / "cache" / name).write_bytes(mark)
    cache.ensure_warm(lambda _: None)
    assert len(filled) == 1


def test_the_stamp_is_of_place_and_time_of_every_file(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for root in (first, second):
        for package in jit.COMPILED_PACKAGES:
            shutil.copytree(ROOT / package, root / package)
    stamp = cache.files_stamp(first)
    assert cache.files_stamp(first) == stamp
    assert cache.files_stamp(second) != stamp
    for package in jit.COMPILED_PACKAGES:
        before, touched = cache.files_stamp(first), next((first / package).rglob("*.py"))
        status = touched.stat()
        os.utime(touched, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        assert cache.files_stamp(first) != before


def test_the_stamp_is_of_all_that_is_compiled() -> None:
    assert set(jit.COMPILED_PACKAGES) == {"harness/dataplane", "vnf_images", "loadgen"}
