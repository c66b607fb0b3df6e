from __future__ import annotations

import dataclasses

import pytest

from harness.doctor import exit_code
from harness.doctor.kernel import (
    assess_clock,
    assess_congestion_control,
    assess_features,
    assess_packet_sockets,
    assess_privileges,
)
from harness.provision.facts import KernelFeatures, gather_facts


def levels(**features):
    present = dict.fromkeys(("namespaces", "veth", "bridge", "tbf", "netem", "vxlan"), True) | features
    facts = dataclasses.replace(gather_facts(), features=KernelFeatures(**present))
    return {finding.subject: finding for finding in assess_features(facts)}


def test_everything_there_is_ok():
    findings = levels()
    assert {finding.level for finding in findings.values()} == {"ok"}
    assert len(findings) == 6


def test_netem_has_a_substitute_and_says_what_it_costs():
    finding = levels(netem=False)["kernel: netem"]
    assert finding.level == "degraded"
    assert "delay line" in finding.consequence
    assert exit_code([finding]) == 0


def test_without_tunnels_one_host_is_enough_for_a_run():
    finding = levels(vxlan=False)["kernel: vxlan"]
    assert finding.level == "degraded"
    assert "on this host" in finding.consequence
    assert exit_code([finding]) == 0


@pytest.mark.parametrize("feature", ["namespaces", "veth", "bridge", "tbf"])
def test_what_has_none_is_missing(feature):
    findings = levels(**{feature: False})
    assert findings[f"kernel: {feature}"].level == "missing"
    assert exit_code(list(findings.values())) == 4


def test_what_could_not_be_tried_is_not_called_missing():
    assert {finding.level for finding in levels(veth=None, tbf=None).values()} == {"ok", "degraded"}


def test_privileges_are_named():
    assert assess_privileges(()).level == "ok"
    finding = assess_privileges(("CAP_NET_RAW",), refusal="user namespaces are forbidden by x = 0")
    assert finding.level == "missing"
    assert "CAP_NET_RAW" in finding.observed
    assert "forbidden by x = 0" in finding.observed
    assert assess_privileges((), rootless=True).level == "ok"


def test_another_congestion_control_than_wanted_is_told():
    assert assess_congestion_control("cubic", "cubic").level == "ok"
    finding = assess_congestion_control("cubic", "reno")
    assert finding.level == "degraded"
    assert "cubic is not in net.ipv4.tcp_allowed_congestion_control" in finding.observed


def test_packet_sockets_are_needed():
    assert (assess_packet_sockets(True).level, assess_packet_sockets(False).level) == ("ok", "missing")


@pytest.mark.parametrize(("source", "level"), [("tsc", "ok"), ("kvm-clock", "ok"), ("hpet", "degraded")])
def test_slow_clocks_are_told(source, level):
    assert assess_clock(source).level == level
