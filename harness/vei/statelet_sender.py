"""The thread that takes statelets from st_q_out and sends them (T1 of the paper, section IV-B step 2.1; VI-A).

Statelets wait up to 1 ms for company, then all of them leave as one segment of up to 64 KiB. The kernel's TCP cuts that
into full TCP segments; handing it over in pieces of one TCP segment each (as the published system does) costs both ends
so much per piece that duplication at 50,000 packets/s could not be worked off.
"""

from __future__ import annotations

import threading
import time

import numpy as np

from harness.errors import HarnessError
from harness.migration.segments import HEADER_BYTES, PAYLOAD_BYTES_MAX, pack_end, pack_segment_header
from harness.migration.transport import Deadline, Stream, end_sending, send_all
from harness.vei.instance_like import InstanceLike
from harness.vei.session import Session, log

FILL_BYTES = 48 << 10
FLUSH_NS = 1_000_000
_POLL_S = 0.000_2


class StateletSender:
    """Sends until st_q_out is closed and empty, then the end segment; `finished` is set either way."""

    def __init__(self, instance: InstanceLike, sock: Stream, deadline: Deadline, session: Session) -> None:
        self._instance, self._sock, self._deadline, self._session = instance, sock, deadline, session
        self._buffer = np.zeros(HEADER_BYTES + PAYLOAD_BYTES_MAX, np.uint8)
        self._view = memoryview(self._buffer.data)
        self.finished = threading.Event()
        self.statelets = self.segments = self.sent_bytes = 0
        self._thread = threading.Thread(target=self._run, name="statelet sender", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the thread; a session that was broken off ends it within one poll."""
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._send_segment():
                pass
            end = pack_end(self.statelets)
            send_all(self._sock, end, self._deadline, "statelet stream", self._session.tick)
            self.sent_bytes += len(end)
            end_sending(self._sock, self._deadline, "statelet stream", self._session.tick)
        except Exception as error:
            if not isinstance(error, HarnessError):
                log.exception("epoch %d: statelet sender", self._session.epoch)
            self._session.break_off(str(error) or type(error).__name__)
        finally:
            self.finished.set()

    def _send_segment(self) -> bool:
        """Collect one segment and send it; False when there will be no more."""
        nbytes, count = self._collect()
        if count == 0:
            return False
        payload = self._view[HEADER_BYTES : HEADER_BYTES + nbytes]
        self._view[:HEADER_BYTES] = pack_segment_header(self.statelets, count, payload)
        segment = self._view[: HEADER_BYTES + nbytes]
        send_all(self._sock, segment, self._deadline, "statelet stream", self._session.tick)
        self.statelets += count
        self.segments += 1
        self.sent_bytes += len(segment)
        return True

    def _collect(self) -> tuple[int, int]:
        """(bytes, statelets) in the buffer behind the header's place; no statelets: st_q_out is closed and empty."""
        nbytes = count = 0
        first_ns = 0
        while True:
            self._session.tick()
            closed = self._instance.statelets_closed
            room = self._buffer[HEADER_BYTES + nbytes :]
            taken, statelets, sequence = self._instance.take_statelets(room, len(room))
            if statelets and sequence != self.statelets + count:
                raise HarnessError(f"st_q_out gave statelet {sequence}, {self.statelets + count} was expected")
            nbytes, count = nbytes + taken, count + statelets
            now_ns = time.monotonic_ns()
            if count and not first_ns:
                first_ns = now_ns
            # Closed was read before taking: nothing can have come after it.
            if nbytes >= FILL_BYTES or closed or (count and now_ns - first_ns >= FLUSH_NS):
                return nbytes, count
            self._deadline.check("next statelet")
            time.sleep(_POLL_S)
