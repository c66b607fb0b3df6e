"""From the start of an instance to "ready", and to the first packet it forwards, with compiled code cached."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness.bench.engine_node import EXTERIOR, uplink_socket
from harness.bench.frames import echo_arp_requests, flow_frames
from harness.bench.setting import activate_source, source_spec
from harness.dataplane import engine_state as es
from harness.dataplane.status_page import map_status_page
from harness.errors import DeadlineExceeded
from harness.experiment.processes import Secrets, status_path
from harness.experiment.sampling import port_word
from harness.profile.model import Profile
from harness.testbed import topology as names
from harness.testbed.testbed import Testbed

_PERIOD_S = 0.001
_DEADLINE_S = 10.0


@dataclass
class StartTimes:
    """Seconds from the start of the process, one value per start."""

    ready_s: list[float] = field(default_factory=list)
    first_forwarded_s: list[float] = field(default_factory=list)


def new_secrets() -> Secrets:
    """Of one instance."""
    return Secrets(secrets.token_bytes(32), secrets.token_bytes(16))


def start_times(testbed: Testbed, profile: Profile, starts: int, scratch: Path) -> StartTimes:
    """Start the source `starts` times, activate it, and offer a packet every millisecond until one is forwarded."""
    times = StartTimes()
    with (
        uplink_socket(testbed, names.LOADGEN) as load,
        uplink_socket(testbed, names.ECHOSERVER) as echo,
    ):
        frame = flow_frames(1, 512)[0].tobytes()
        requests = [request.tobytes() for request in echo_arp_requests()]
        for _ in range(starts):
            own = new_secrets()
            began = time.monotonic()
            (started,) = testbed.start([source_spec(profile, testbed, scratch, own)])
            times.ready_s.append(time.monotonic() - began)
            try:
                activate_source(testbed, started, own)
                page = map_status_page(status_path(scratch, names.SOURCE))
                end = time.monotonic() + _DEADLINE_S
                # What the NAT sends of its own (ARP) is no packet forwarded.
                while port_word(page, EXTERIOR, es.TX_FRAMES) <= port_word(page, EXTERIOR, es.TX_OTHER):
                    if time.monotonic() > end:
                        raise DeadlineExceeded(f"bench: no packet forwarded within {_DEADLINE_S:g} s of activation")
                    for request in requests:
                        echo.send(request)
                    load.send(frame)
                    time.sleep(_PERIOD_S)
                times.first_forwarded_s.append(time.monotonic() - began)
            finally:
                started.process.stop()
    return times
