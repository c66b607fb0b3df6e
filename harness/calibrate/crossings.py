"""From when each probe was seen at every station to the time each crossing of an uplink took. Pure.

Stations: the load generator sends it, the instance takes the request, the instance takes the reply, the load generator
receives it. The instances' traces hold no probe's number, so the probes are told apart by their order: links and delay
lines keep it, and where every station has seen all of them, the n-th at one station is the n-th at the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]
INTERIOR, EXTERIOR = 0, 1
ETHERTYPE_AT, PROTOCOL_AT = 12, 23
PROTOCOL_UDP = 17


@dataclass(frozen=True, eq=False)
class Stations:
    """CLOCK_MONOTONIC ns. sent, received: int64[N] of the load generator, in order of sending (received 0: never).

    requests, replies: for every instance, int64[k] ascending, when it took each of them.
    """

    sent_ns: Times
    received_ns: Times
    requests_ns: Mapping[str, Times]
    replies_ns: Mapping[str, Times]


@dataclass(frozen=True, eq=False)
class Crossings:
    """What the probes of one instance took, int64[k] ns each.

    towards: load generator to the instance; beyond: instance to echoserver and back to it (two crossings); back: from
    the instance to the load generator; round_trip: all four.
    """

    sent: int
    towards_ns: Times
    beyond_ns: Times
    back_ns: Times
    round_trip_ns: Times


def probe_times(trace: npt.NDArray[np.void]) -> tuple[Times, Times]:
    """When the UDP datagrams in a trace (`harness.dataplane.trace.TRACE_DTYPE`) were taken at the interior and at the
    exterior port."""
    data = trace["data"]
    is_udp = (
        (trace["captured"] > PROTOCOL_AT)
        & (data[:, ETHERTYPE_AT] == 8)
        & (data[:, ETHERTYPE_AT + 1] == 0)
        & (data[:, PROTOCOL_AT] == PROTOCOL_UDP)
    )
    interior, exterior = (
        trace["now_ns"][is_udp & (trace["port"] == port)].astype(np.int64) for port in (INTERIOR, EXTERIOR)
    )
    return interior, exterior


def crossings_of(stations: Stations) -> dict[str, Crossings]:
    """For each instance. Stations that have not seen every probe leave the times that need them empty.

    A probe whose request one instance took and whose reply another is left out: it was on its way at the change.
    """
    count = stations.sent_ns.size
    request_ns, request_at = _in_order(stations.requests_ns)
    reply_ns, reply_at = _in_order(stations.replies_ns)
    requests_known, replies_known = request_ns.size == count, reply_ns.size == count
    arrived = stations.received_ns > 0
    found: dict[str, Crossings] = {}
    for number, instance in enumerate(stations.requests_ns):
        nothing = np.zeros(count, np.bool_)
        taken = request_at == number if requests_known else nothing
        returned = reply_at == number if replies_known else nothing
        through = taken & returned
        found[instance] = Crossings(
            sent=int(stations.requests_ns[instance].size),
            towards_ns=_between(stations.sent_ns, request_ns, taken),
            beyond_ns=_between(request_ns, reply_ns, through),
            back_ns=_between(reply_ns, stations.received_ns, through & arrived),
            round_trip_ns=_between(stations.sent_ns, stations.received_ns, through & arrived),
        )
    return found


def first_of(stations: Stations, count: int) -> Stations:
    """The stations as if only the first `count` packets had been sent: what came after them is left out everywhere."""

    def first(times_ns: Mapping[str, Times]) -> dict[str, Times]:
        # By place, not by time: frames that are taken together have the same.
        every_ns, owner = (column[:count] for column in _in_order(times_ns))
        return {name: every_ns[owner == number] for number, name in enumerate(times_ns)}

    return Stations(
        stations.sent_ns[:count], stations.received_ns[:count], first(stations.requests_ns), first(stations.replies_ns)
    )


def _in_order(times_ns: Mapping[str, Times]) -> tuple[Times, npt.NDArray[np.int64]]:
    """All times ascending, and the number of the instance each belongs to."""
    all_ns = np.concatenate([*times_ns.values(), np.zeros(0, np.int64)])
    owner = np.concatenate([np.full(times.size, number, np.int64) for number, times in enumerate(times_ns.values())])
    order = np.argsort(all_ns, kind="stable")
    return all_ns[order], owner[order]


def _between(first_ns: Times, then_ns: Times, chosen: npt.NDArray[np.bool_]) -> Times:
    if not chosen.any():
        return np.zeros(0, np.int64)
    return then_ns[chosen] - first_ns[chosen]
