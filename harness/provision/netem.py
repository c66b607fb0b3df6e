"""netem's request, written byte by byte: pyroute2 does not know the table of a distribution (pkt_sched.h, tc-netem(8)).

Probabilities are fractions of 2^32 - 1. What is not asked for is sent as 0, so that a request also takes back what an
earlier one has set.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from harness.distributions import quantile_table
from harness.provision.messages import RTM_NEWQDISC, ticks_of_ns
from harness.provision.netlink import Request

_ALWAYS = 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")
_TC = struct.Struct("=BxxxiIII")
_OPTIONS = struct.Struct("=6I")
_PAIR = struct.Struct("=2I")
_ATTRIBUTE = struct.Struct("=HH")
_TCA_KIND, _TCA_OPTIONS = 1, 2
_DELAY_DIST, _REORDER, _CORRUPT = 2, 3, 4
_REQUEST_ACK_REPLACE_CREATE = 0x1 | 0x4 | 0x100 | 0x400


def share(probability: float) -> int:
    """A probability in netem's unit."""
    return round(probability * _ALWAYS)


def netem_state(
    latency_ns: int,
    ipdv_ns: int = 0,
    *,
    limit_packets: int,
    loss: float = 0.0,
    duplication: float = 0.0,
    reordering: float = 0.0,
    corruption: float = 0.0,
) -> dict[str, int]:
    """What the kernel keeps of a netem, in its own units; it does not tell the distribution."""
    return {
        "latency_ticks": ticks_of_ns(latency_ns),
        "limit_packets": limit_packets,
        "loss": share(loss),
        # Each frame is a candidate for reordering; 0 turns it off.
        "gap": int(reordering > 0),
        "duplication": share(duplication),
        "ipdv_ticks": ticks_of_ns(ipdv_ns),
        "reordering": share(reordering),
        "corruption": share(corruption),
    }


_OPTION_ORDER = ("latency_ticks", "limit_packets", "loss", "gap", "duplication", "ipdv_ticks")


def netem_replace(
    index: int, parent: int, handle: int, state: Mapping[str, int], distribution: str | None = None
) -> Request:
    """Install or change a netem of that `netem_state`. distribution None: uniform, without a table.

    A table once given stays, so a netem that ever had one becomes uniform again by the table "uniform".
    """
    options = _OPTIONS.pack(*(state[name] for name in _OPTION_ORDER))
    options += _attribute(_REORDER, _PAIR.pack(state["reordering"], 0))
    options += _attribute(_CORRUPT, _PAIR.pack(state["corruption"], 0))
    if distribution is not None:
        options += _attribute(_DELAY_DIST, quantile_table(distribution).astype("=i2").tobytes())
    body = _TC.pack(0, index, handle, parent, 0) + _attribute(_TCA_KIND, b"netem\0")
    body += _attribute(_TCA_OPTIONS, options)
    header = _HEADER.pack(_HEADER.size + len(body), RTM_NEWQDISC, _REQUEST_ACK_REPLACE_CREATE, 0, 0)
    return Request(f"set netem on link {index}", header + body)


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)
