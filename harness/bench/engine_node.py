"""An instance in this process on the source's uplink, fed from the load generator's: the engine under a microscope.

Frames take the way they take in a run (veth, bridge, veth, AF_PACKET with its filters); only the instance's thread
belongs to this process, so that single control operations can be timed. Nobody reads the echoserver's end.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from harness.bench.frames import ECHO_ADDRESSES, echo_arp_requests
from harness.bench.transmit import Sender
from harness.dataplane import engine_state as es
from harness.dataplane.instance import (
    MODE_ACTIVE,
    ImageFunctions,
    Instance,
    InstanceSettings,
)
from harness.dataplane.packet_socket import PortOptions, mac_bytes, open_port
from harness.dataplane.status_page import map_status_page
from harness.errors import DeadlineExceeded, HarnessError
from harness.testbed import topology as names
from harness.testbed.testbed import Testbed

INTERIOR, EXTERIOR = 0, 1
VNF_ADDRESSES = tuple(names.VNF_ADDRESSES.values())
ST_Q_OUT_PACKETS = 1 << 18
_TAKE_BYTES = 1 << 20
_TAKE_PAUSE_S = 0.001
_POLL_S = 0.0005


def uplink_socket(testbed: Testbed, node: str, options: PortOptions | None = None) -> socket.socket:
    """A raw socket on a node's uplink: a port with `options`, else one that only sends."""
    sock = testbed.connection.socket_in(testbed.topology.netns(node), socket.AF_PACKET, socket.SOCK_RAW)
    try:
        if options is None:
            sock.bind((names.UPLINK, 0))  # protocol 0: it receives nothing
        else:
            # A port is bound by the name of its interface, which only means something in its namespace.
            testbed.connection.run(testbed.topology.netns(node), lambda: open_port(sock, options))
    except BaseException:
        sock.close()
        raise
    return sock


class EngineNode:
    """A live NAT between the uplinks, its neighbours known. Use as a context manager on a provisioned testbed."""

    def __init__(self, testbed: Testbed, image: ImageFunctions, scratch: Path, number: int) -> None:
        self._testbed = testbed
        self._sockets: list[socket.socket] = []
        self._announcing = threading.Event()
        self._consumer: threading.Thread | None = None
        status_path = scratch / f"engine-{number}.status"
        try:
            ports = [
                uplink_socket(
                    testbed,
                    names.SOURCE,
                    PortOptions(names.UPLINK, mac_bytes(mac), arp_address=socket.inet_aton(address)),
                )
                for mac, address in zip(names.VNF_MACS, VNF_ADDRESSES, strict=True)
            ]
            self._sockets += ports
            self._load = uplink_socket(testbed, names.LOADGEN)
            self._sockets.append(self._load)
            self._echo = uplink_socket(testbed, names.ECHOSERVER)
            self._sockets.append(self._echo)
            settings = InstanceSettings(st_q_out_packets=ST_Q_OUT_PACKETS, status_path=status_path)
            self.instance = Instance(image, ports, settings)
            self.page = map_status_page(status_path)
        except BaseException:
            self._close_sockets()
            raise

    def __enter__(self) -> Self:
        try:
            self._testbed.fabric.steer(names.SOURCE)
            self.instance.start()
            self.instance.set_mode(MODE_ACTIVE)
            before = self.word(EXTERIOR, es.RX_ARP)
            for frame in echo_arp_requests():
                self._echo.send(frame.tobytes())
            self.wait(lambda: self.word(EXTERIOR, es.RX_ARP) - before >= len(ECHO_ADDRESSES), "the echo addresses' ARP")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._stop_consumer()
        self.instance.close()
        self._close_sockets()

    def _close_sockets(self) -> None:
        for sock in self._sockets:
            sock.close()

    # -- traffic --------------------------------------------------------------------------------------------------

    def sender(self, frames: np.ndarray, scheduler: str = "auto") -> Sender:
        """A sender on the load generator's uplink."""
        return Sender(self._load, frames, scheduler)

    def word(self, port: int, word: int) -> int:
        """A counter of a port."""
        return int(self.page[es.PORTS_AT + port * es.PORT_WORDS + word])

    @property
    def processed_packets(self) -> int:
        """Packets taken at the interior port."""
        return self.word(INTERIOR, es.PROCESSED)

    @property
    def forwarded_packets(self) -> int:
        """Packets the kernel took at the exterior port: the NAT's own ARP frames left out."""
        return self.word(EXTERIOR, es.TX_FRAMES) - self.word(EXTERIOR, es.TX_OTHER)

    @property
    def waiting_packets(self) -> int:
        """Depth of the interior port's pkt_q."""
        return self.word(INTERIOR, es.PKT_Q_DEPTH)

    def wait(self, condition: Callable[[], bool], what: str, deadline_s: float = 5.0) -> None:
        """Poll until `condition`. DeadlineExceeded names `what` never came."""
        end = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > end:
                raise DeadlineExceeded(f"bench: {what} did not happen within {deadline_s:g} s")
            time.sleep(_POLL_S)

    def settle(self, quiet_s: float = 0.01) -> None:
        """Wait until the engine has nothing left to do: no packet processed for `quiet_s`."""
        while True:
            before = self.processed_packets
            time.sleep(quiet_s)
            if self.processed_packets == before:
                return

    def delivered_packets(self) -> int:
        """Frames that arrived at the echoserver's end, as its interface counts them."""
        return self._testbed.counters().link(names.ECHOSERVER, names.UPLINK).rx_packets

    # -- what the engine costs ------------------------------------------------------------------------------------

    def engine_cpu_ns(self) -> int:
        """CPU time of the engine's thread. HarnessError where the kernel keeps no schedstat."""
        thread = next((thread for thread in threading.enumerate() if thread.name == "engine"), None)
        if thread is None:
            raise HarnessError("bench: the engine's thread has ended")
        try:
            return int(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0])
        except (OSError, ValueError, IndexError) as error:
            raise HarnessError(f"bench: the kernel does not tell the CPU time of a thread ({error})") from error

    # -- statelets ------------------------------------------------------------------------------------------------

    def announce(self, updates: int) -> int:
        """Freeze and announce, with a consumer at st_q_out as a migration has one; returns the pause in ns."""
        pause_ns = self.instance.freeze_and_announce(updates)
        self._announcing.set()
        self._consumer = threading.Thread(target=self._consume, name="bench statelets", daemon=True)
        self._consumer.start()
        return pause_ns

    def end_announcing(self) -> None:
        """As after an abort: unfreeze, no more statelets. HarnessError where st_q_out had run over meanwhile."""
        self._stop_consumer()
        overflowed = self.instance.announcing_overflowed
        self.instance.unfreeze()
        self.instance.stop_announcing()
        if overflowed:
            raise HarnessError("bench: st_q_out ran over, so that nothing was announced any more")

    def _stop_consumer(self) -> None:
        self._announcing.clear()
        if self._consumer is not None:
            self._consumer.join()
            self._consumer = None

    def _consume(self) -> None:
        out = np.zeros(_TAKE_BYTES, np.uint8)
        while self._announcing.is_set():
            taken, _, _ = self.instance.take_statelets(out, out.size)
            if taken < out.size // 2:
                time.sleep(_TAKE_PAUSE_S)
