"""Reading the memory of processes."""

from __future__ import annotations

import os

import pytest

from harness.bench.memory import CONTROLLER, MemoryWatch, normal_run_profile, parse_memory
from harness.bench.scope import FULL, QUICK
from harness.plan import make_plan


def test_resident_set_and_its_peak() -> None:
    assert parse_memory("Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n") == (1 << 20, 2 << 20)


@pytest.mark.parametrize("text", ["", "VmRSS:\t1 kB\n", "VmHWM:\tmuch kB\nVmRSS:\t1 kB\n"])
def test_a_status_without_them_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"resident|much"):
        parse_memory(text)


def test_a_process_is_watched_by_its_number() -> None:
    watch = MemoryWatch(os.getpid())
    block = bytearray(b"x" * (64 << 20))
    watch.sample()
    assert watch.peak_bytes[CONTROLLER] >= watch.resident_bytes[CONTROLLER][0] > len(block)


def test_a_process_that_is_gone_is_left_out() -> None:
    watch = MemoryWatch(2**22 + 1)  # above the kernel's largest process id
    watch.sample()
    assert watch.peak_bytes == {}


@pytest.mark.parametrize("scope", [FULL, QUICK])
def test_the_normal_run_is_one_statelet_migration_of_the_default_testbed(scope: object) -> None:
    profile = normal_run_profile(scope)  # type: ignore[arg-type]
    assert [run.mode for run in make_plan(profile).runs] == ["statelet"]
    assert profile.uplink.latency_ns == 2_500_000
    assert profile.migration.filler_bytes == 20 << 20
