"""`python -m harness.latency_generator.warm`: compile everything the latency generator runs, so that it is cached.

A small element on socket pairs hands one frame on. No privileges are needed.
"""

from __future__ import annotations

import socket

from harness.dataplane.element.element import DirectionConditions, Element, ElementSettings

_WITHIN_S = 10.0


def warm() -> None:
    """Use an element once; about 20 s from nothing. TimeoutError where it does not hand the frame on."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
    for outside, inside in pairs:
        outside.settimeout(_WITHIN_S)
        inside.setblocking(False)
    element = Element([pair[1] for pair in pairs], ElementSettings(seed=0, scheduler="other", queue_packets=64))
    element.set_conditions(0, DirectionConditions())
    element.start()
    pairs[0][0].send(bytes(60))
    pairs[1][0].recv(64)
    element.close()
    for outside, _ in pairs:
        outside.close()


if __name__ == "__main__":
    warm()
