from __future__ import annotations

import re

import pytest

from harness.errors import ProfileError, UsageError
from harness.testbed import topology as names
from harness.testbed.topology import Topology, UplinkSpec


def test_the_burst_is_twenty_milliseconds_of_the_rate() -> None:
    assert UplinkSpec(1_000_000_000).bucket_bytes == 2_500_000
    assert UplinkSpec(1_000_000_000, burst_bytes=9000).bucket_bytes == 9000


def test_every_address_is_unique_and_local() -> None:
    groups = (names.NODE_MACS, names.UPLINK_MACS, names.PEER_MACS, names.PORT_MACS)
    macs = [mac for group in groups for mac in group.values()] + [names.CONTROLLER_MAC, *names.VNF_MACS]
    assert len(macs) == len(set(macs))
    assert all(re.fullmatch(r"02(:[0-9a-f]{2}){5}", mac) for mac in macs)
    assert len(set(names.MANAGEMENT_ADDRESSES.values())) == 3


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"latency_backend": "magic"}, "auto, netem, latency_generator, delay_line, none"),
        ({"uplink": UplinkSpec(rate_bps=0)}, "uplink rate"),
        ({"uplink": UplinkSpec(rate_bps=-5)}, "uplink rate"),
        ({"uplink": UplinkSpec(latency_ns=-1)}, "latency"),
        ({"uplink": UplinkSpec(queue_limit_bytes=16384)}, "queue limit"),
        ({"uplink": UplinkSpec(burst_bytes=1000)}, "burst"),
        ({"receive_order": "best"}, "link, flow, cpu"),
        ({"gso_max_size_bytes": 1000}, "gso_max_size"),
    ],
)
def test_refuses_what_cannot_work(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        Topology("abcdefg1", **fields)  # type: ignore[arg-type]


def test_refuses_a_bad_run_id() -> None:
    with pytest.raises(UsageError, match="run id"):
        Topology("x")


def test_without_a_meter_its_limits_do_not_matter() -> None:
    Topology("abcdefg1", UplinkSpec(rate_bps=None, queue_limit_bytes=0))
