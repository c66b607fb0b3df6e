"""Test modules carried out in the guest, whose results become results here."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.uml.boot import OUT, boot

MODULES = {
    "netem": ["tests/uml/inside/netem_links.py"],
    # The rest of the fabric and every task, on this kernel too, but for how fast it is. What ends processes in between
    # is no matter of netem.
    "fabric": ["tests/system/test_fabric.py", "-k", "not cheap and not short_batch"],
    "tasks": ["tests/system/test_provision_tasks.py"],
    "provisioning": ["tests/system/test_provision.py", "-k", "provisions or check or drift or namespaces"],
}


@pytest.fixture(scope="module")
def reports(folder: Path) -> dict[str, tuple[int, str, Path]]:
    """Exit status, output and JUnit file of each group."""
    pytest_in_guest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--color=no"]
    commands = [[*pytest_in_guest, f"--junitxml={OUT}/{name}.xml", *words] for name, words in MODULES.items()]
    ended = boot(folder, commands, 300)
    return {
        name: (one.exit_status, one.output, folder / f"{name}.xml") for name, one in zip(MODULES, ended, strict=True)
    }


@pytest.mark.timeout(30, func_only=True)  # the guest has a deadline of its own
@pytest.mark.parametrize("name", MODULES)
def test_in_the_guest(name: str, reports: dict[str, tuple[int, str, Path]], subtests: pytest.Subtests) -> None:
    status, output, report = reports[name]
    assert report.exists(), output
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert len(cases) >= 5, output
    for case in cases:
        with subtests.test(msg=str(case.get("name"))):
            faults = [child for child in case if child.tag in ("failure", "error", "skipped")]
            assert not faults, "\n".join(f"{fault.get('message')}\n{fault.text}" for fault in faults)
    assert status == 0, output
