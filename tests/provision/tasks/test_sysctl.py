from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import MachineError
from harness.provision.tasks import sysctl
from harness.provision.tasks.sysctl import read_sysctl, write_sysctl


@pytest.fixture
def parameters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(sysctl, "_ROOT", tmp_path)
    (tmp_path / "net/core").mkdir(parents=True)
    return tmp_path / "net/core"


def test_words_are_separated_by_one_blank(parameters: Path) -> None:
    (parameters / "rmem").write_text("4096\t131072 6291456\n")
    assert read_sysctl("net.core.rmem") == "4096 131072 6291456"
    assert read_sysctl("net.core.nosuch") is None


@pytest.mark.parametrize(("written", "mask"), [("3", "3"), ("00", "0"), ("0f", "f"), ("0000,00000003", "3")])
def test_a_cpu_mask_reads_the_same_on_every_machine(parameters: Path, written: str, mask: str) -> None:
    (parameters / "rps_default_mask").write_text(written + "\n")
    assert read_sysctl("net.core.rps_default_mask") == mask


def test_a_refused_value_is_one_line_with_name_and_value(parameters: Path) -> None:
    with pytest.raises(MachineError, match=r"net\.core: the kernel refuses '1'"):
        write_sysctl("net.core", "1")
