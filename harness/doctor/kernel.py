"""What the kernel offers and this process may do, judged for a run. Pure: takes the facts of the host."""

from __future__ import annotations

from harness.doctor.finding import Finding, Level
from harness.provision.facts import Facts

_NEEDED = "no run is possible on this kernel"
_FAST_CLOCKS = ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter")

# Feature: what works with it, level without it, consequence without it.
_FEATURES: dict[str, tuple[str, Level, str]] = {
    "namespaces": ("every node has a network namespace of its own", "missing", _NEEDED),
    "veth": ("nodes are connected by veth pairs", "missing", _NEEDED),
    "bridge": ("the fabric is a bridge", "missing", _NEEDED),
    "tbf": ("the uplinks are metered", "missing", _NEEDED),
    "netem": (
        "the kernel makes uplink.latency",
        "degraded",
        "the delay line of the receiving port makes uplink.latency: RTT p50 is 0.1-0.2 ms above the base RTT",
    ),
    "vxlan": (
        "nodes of a run can be on several hosts",
        "degraded",
        "all nodes of a run have to be on this host (module vxlan)",
    ),
}


def assess_privileges(missing: tuple[str, ...], rootless: bool = False, refusal: str = "") -> Finding:
    """Capabilities a run needs and this process lacks; `refusal`: why a user namespace does not give them."""
    if missing:
        because = f"; without root, {refusal}" if refusal else ""
        return Finding(
            "privileges", "missing", f"without {', '.join(missing)}{because}", "no run is possible; use sudo"
        )
    if rootless:
        text = (
            "the same testbed within the limits of a user: scheduler, receive buffer and congestion control below; "
            "no --keep"
        )
        return Finding("privileges", "ok", "all that a run needs, without root in a user namespace", text)
    return Finding("privileges", "ok", "all that a run needs", "namespaces and links can be made")


def assess_congestion_control(wanted: str, usable: str) -> Finding:
    """What TCP between the instances will use, of what this process may use or permit."""
    if usable == wanted:
        return Finding("congestion control", "ok", usable, f"the state streams use {usable}")
    return Finding(
        "congestion control",
        "degraded",
        f"{usable}: {wanted} is not in net.ipv4.tcp_allowed_congestion_control, which only root can change",
        f"the state streams use {usable}: compare migration durations only with runs that did",
    )


def assess_features(facts: Facts) -> list[Finding]:
    """One finding per kernel feature; what could not be tried is named as that."""
    findings = []
    for name, (with_it, level, without) in _FEATURES.items():
        present = getattr(facts.features, name)
        subject = f"kernel: {name}"
        if present:
            findings.append(Finding(subject, "ok", "works", with_it))
        elif present is None:
            findings.append(Finding(subject, "degraded", "not tried for lack of privileges", "run doctor as root"))
        else:
            findings.append(Finding(subject, level, f"not in kernel {facts.kernel_release}", without))
    return findings


def assess_packet_sockets(permitted: bool) -> Finding:
    """Whether an AF_PACKET socket can be opened."""
    if permitted:
        return Finding("packet sockets", "ok", "can be opened", "the packet path moves whole frames")
    return Finding("packet sockets", "missing", "refused", "no run is possible; use sudo, or a kernel with AF_PACKET")


def assess_clock(source: str) -> Finding:
    """Clock source of the kernel; those of the vDSO cost tens of ns to read, the others a system call and more."""
    if source in _FAST_CLOCKS:
        return Finding("clock", "ok", source, "reading the time costs tens of ns")
    return Finding("clock", "degraded", source, "reading the time may cost 1 us and more per packet")
