"""What this machine can and cannot do, and what each of it means for a profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.doctor.finding import Finding
from harness.errors import MachineError

if TYPE_CHECKING:
    from harness.profile import Profile

_STYLES = {"ok": "green", "degraded": "yellow", "missing": "bold red"}


def examine(profile: Profile | None = None) -> list[Finding]:
    """Every finding, judged by the needs of the profile, by default the default one. Creates nothing that lasts; takes
    about 2 s. ProfileError where the profile contradicts itself.
    """
    from harness.doctor.kernel import (
        assess_clock,
        assess_congestion_control,
        assess_features,
        assess_packet_sockets,
        assess_privileges,
    )
    from harness.doctor.links import assess_backend
    from harness.doctor.machine import examine_machine, packet_sockets_permitted
    from harness.plan import make_plan
    from harness.profile import Profile
    from harness.profile.topology import make_topology
    from harness.provision.facts import gather_facts
    from harness.testbed.construction import usable_congestion_control

    profile = profile or Profile()
    plan = make_plan(profile)
    facts = gather_facts()
    machine = examine_machine(
        plan.memory_bytes, plan.disk_bytes, profile.dataplane.receive_buffer_bytes, Path(profile.record.results)
    )
    topology = make_topology(profile, "doctor00")
    congestion_control = topology.congestion_control
    return [
        assess_privileges(facts.missing_privileges(), facts.rootless, facts.rootless_refusal),
        *assess_features(facts),
        assess_backend(topology, facts),
        assess_packet_sockets(packet_sockets_permitted()),
        assess_clock(facts.clock_source),
        assess_congestion_control(congestion_control, usable_congestion_control(congestion_control, facts)),
        *machine,
    ]


def exit_code(findings: Sequence[Finding]) -> int:
    """0 when the default profile can run, else that of MachineError."""
    return MachineError.exit_code if any(finding.level == "missing" for finding in findings) else 0


def document(findings: Sequence[Finding]) -> dict[str, Any]:
    """Findings as JSON data."""
    return {"exit_code": exit_code(findings), "findings": [asdict(finding) for finding in findings]}


def print_findings(findings: Sequence[Finding], quiet: bool = False) -> None:
    """A table for people; with `quiet` only what is not ok."""
    from rich.console import Console
    from rich.table import Table

    shown = [finding for finding in findings if not quiet or finding.level != "ok"]
    if not shown:
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("subject", "level", "observed", "what it means"):
        table.add_column(heading, overflow="fold")
    for finding in shown:
        style = _STYLES[finding.level]
        table.add_row(finding.subject, f"[{style}]{finding.level}[/]", finding.observed, finding.consequence)
    Console().print(table)
