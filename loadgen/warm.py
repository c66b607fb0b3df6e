"""Compile everything the two processes run, so that they start with a warm cache: `python -m loadgen.warm`."""

from __future__ import annotations

from ipaddress import IPv4Address

import numpy as np


def warm() -> None:
    """Fill the cache of compiled code; some 20 s from nothing, under a second where it is warm."""
    # Importing a loop compiles it; what is called from Python besides is compiled by calling it.
    import loadgen.capture_generator
    import loadgen.echoserver
    import loadgen.generator  # noqa: F401
    from loadgen.arp import answer_request
    from loadgen.flows import build_flows

    address = IPv4Address("10.1.1.1")
    build_flows(1, [address], [address], 7, (bytes(6), bytes(6)), 0)
    mac = np.frombuffer(bytearray(6), np.uint8)
    answer_request(np.zeros(64, np.uint8), 60, mac, np.zeros(1, np.uint32))


if __name__ == "__main__":
    warm()
