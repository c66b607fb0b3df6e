"""`python -m harness.vei.warm FOLDER...`: compile everything an instance of these images runs, so that it is cached.

What is compiled on first use is used once: a small instance on socket pairs takes a packet, announces it, is frozen,
read, installed elsewhere and replayed. No privileges are needed.
"""

from __future__ import annotations

import socket
import sys
import tempfile
from pathlib import Path

import numpy as np

from harness.dataplane.instance import MODE_ACTIVE, MODE_STANDBY, UPDATES_STATELET, Instance, InstanceSettings
from harness.dataplane.replay import read_trace, replay
from harness.vei.image import load_image
from harness.vei.state import InstanceState

_FRAME = bytes(60)


def warm(folder: Path) -> None:
    """Use one image once. Raises HarnessError where it is none."""
    image = load_image(folder, {}, 0)
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
    for pair in pairs:
        pair[1].setblocking(False)
    with tempfile.TemporaryDirectory() as scratch:
        trace = Path(scratch) / "trace"
        settings = InstanceSettings(scheduler="other", pkt_q_packets=64, trace_path=trace)
        state = InstanceState(image.tables)
        instance = Instance(image, [pair[1] for pair in pairs], settings)
        instance.start()
        instance.set_mode(MODE_ACTIVE)
        instance.freeze_and_announce(UPDATES_STATELET)
        pairs[0][0].send(_FRAME)
        for table, count, words in state.read_frozen():
            InstanceState(image.tables.copy()).load(table, words, count)
        instance.unfreeze()
        data = np.zeros(4096, np.uint8)
        instance.take_statelets(data, len(data))
        instance.set_mode(MODE_STANDBY)
        instance.install_statelets(data, 0)
        instance.install_duplicates(data, 0)
        state.reset()
        instance.close()
        replay(image.announce, image.install, image.tables, read_trace(trace))
    for pair in pairs:
        pair[0].close()


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        warm(Path(argument))
