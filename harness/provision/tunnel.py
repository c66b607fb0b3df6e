"""A point-to-point VXLAN tunnel (RFC 7348) as a pure description: identifier, ends, ports."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass

from harness.errors import UsageError
from harness.provision.run_id import check_run_id

PORT = 4789
"""UDP port that IANA has assigned to VXLAN."""
OVERHEAD_BYTES = 50
"""What IPv4 packets of the underlay carry beside an inner packet: IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14."""
TUNNELS_MAX = 16
"""Of one run."""

_VNI_MAX = (1 << 24) - 1
_FIRST_SOURCE_PORT, _SOURCE_PORTS = 49152, 16383


def derived_vni(run_id: str, number: int) -> int:
    """Network identifier of a run's tunnel `number`, equal at both ends: 20 bits from the run, 4 from the number.

    What another run uses is met by chance only, and refused by the kernel. UsageError beyond TUNNELS_MAX.
    """
    if not 0 <= number < TUNNELS_MAX:
        raise UsageError(f"tunnel {number}: a run has at most {TUNNELS_MAX}")
    digest = hashlib.sha256(check_run_id(run_id).encode()).digest()
    return (int.from_bytes(digest[:3], "big") >> 4 or 1) << 4 | number


@dataclass(frozen=True)
class Tunnel:
    """IPv4 addresses of this host and the other in the underlay, the network identifier, the UDP port of both.

    UsageError for what cannot be one.
    """

    vni: int
    local: str
    remote: str
    port: int = PORT

    def __post_init__(self) -> None:
        if not 1 <= self.vni <= _VNI_MAX:
            raise UsageError(f"VNI {self.vni}: must be between 1 and {_VNI_MAX}")
        if not 1 <= self.port <= 65535:
            raise UsageError(f"UDP port {self.port}: must be between 1 and 65535")
        for name, text in (("local", self.local), ("remote", self.remote)):
            try:
                address = ipaddress.IPv4Address(text)
            except ValueError:
                raise UsageError(f"{name} address {text!r:.60} of a tunnel: must be IPv4, such as 192.0.2.1") from None
            if address.is_multicast or address.is_unspecified:
                raise UsageError(f"{name} address {text} of a tunnel: must be that of one host")

    @property
    def source_port(self) -> int:
        """The one UDP source port of all its datagrams.

        A port for each flow inside, as RFC 7348 recommends, would let the underlay spread them over paths, queues and
        CPUs: frames of one flow would overtake those of another, and drain packets what was on the path before them.
        """
        return _FIRST_SOURCE_PORT + self.vni % _SOURCE_PORTS
