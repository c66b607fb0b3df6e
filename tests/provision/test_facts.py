from __future__ import annotations

import dataclasses

import pytest

from harness.errors import MachineError
from harness.provision.facts import KernelFeatures, gather_facts, steal_fraction

ALL = KernelFeatures(namespaces=True, veth=True, bridge=True, tbf=True, netem=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("cpu  50 0 20 20 5 0 0 5 0 0\ncpu0 1", 0.05), ("cpu  0 0 0 0 0 0 0 0 0 0\n", 0.0), ("cpu 1 2\n", 0.0), ("", 0.0)],
)
def test_reads_the_stolen_share(text: str, expected: float) -> None:
    assert steal_fraction(text) == pytest.approx(expected)


def test_names_every_missing_privilege() -> None:
    facts = dataclasses.replace(gather_facts(), cap_net_admin=False, cap_net_raw=True, cap_sys_admin=False)
    with pytest.raises(MachineError, match="CAP_NET_ADMIN, CAP_SYS_ADMIN: run as root"):
        facts.require_testbed()
    refused = dataclasses.replace(facts, rootless_refusal="user namespaces are refused")
    with pytest.raises(MachineError, match="CAP_SYS_ADMIN: run as root; without root, user namespaces are refused"):
        refused.require_testbed()


@pytest.mark.parametrize(
    ("feature", "words"), [("tbf", "tbf"), ("bridge", "bridges"), ("veth", "veth"), ("namespaces", "namespaces")]
)
def test_names_every_missing_kernel_feature(feature: str, words: str) -> None:
    granted = {"cap_net_admin": True, "cap_net_raw": True, "cap_sys_admin": True}
    facts = dataclasses.replace(gather_facts(), **granted, features=dataclasses.replace(ALL, **{feature: None}))
    with pytest.raises(MachineError, match=words):
        facts.require_testbed()


def test_netem_is_not_required() -> None:
    granted = {"cap_net_admin": True, "cap_net_raw": True, "cap_sys_admin": True}
    dataclasses.replace(gather_facts(), **granted, features=ALL).require_testbed()
