from __future__ import annotations

import os
import struct
import threading

import pytest

from harness.provision.netlink import attributes
from harness.testbed.fabric import steer_requests, visit_all_cpus

INDICES = {"loadgen": 2, "echoserver": 3, "source": 4, "destination": 5}


@pytest.mark.parametrize(("owner", "other"), [("destination", "source"), ("source", "destination")])
def test_a_switchover_is_two_addresses_and_two_broadcast_flags(owner: str, other: str) -> None:
    interior, exterior, opened, closed = (request.data for request in steer_requests(INDICES, owner))
    for data, mac in ((interior, "020000000100"), (exterior, "020000000101")):
        assert struct.unpack_from("=i", data, 20) == (INDICES[owner],)
        assert dict(attributes(data, 28))[2] == bytes.fromhex(mac)
    for data, node, flag in ((opened, owner, 1), (closed, other, 0)):
        assert struct.unpack_from("=i", data, 20) == (INDICES[node],)
        ((_kind, nested),) = attributes(data, 32)
        assert dict(attributes(nested, 0)) == {30: bytes((flag,))}


def test_a_visit_ends_where_the_thread_was_allowed_before() -> None:
    before = os.sched_getaffinity(0)
    seen: list[set[int]] = []
    thread = threading.Thread(target=lambda: (visit_all_cpus(), seen.append(os.sched_getaffinity(0))))
    thread.start()
    thread.join()
    assert seen == [before]
    assert os.sched_getaffinity(0) == before
