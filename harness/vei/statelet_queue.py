"""st_q_in: segments of statelets between the thread that receives them and the one that installs them.

Bounded in statelets and in bytes. A full queue makes the receiving thread wait, and thus TCP push back on the source:
a statelet that was received is never lost.
"""

from __future__ import annotations

import threading
from collections import deque

from harness.migration.segments import End, Segment
from harness.migration.transport import TICK_NS, Deadline, Tick


class StateletQueue:
    """One producer, one consumer. `max_packets` and `max_bytes` are the deepest it ever was."""

    def __init__(self, limit_packets: int, limit_bytes: int) -> None:
        self._limit_packets, self._limit_bytes = limit_packets, limit_bytes
        self._segments: deque[Segment | End] = deque()
        self._changed = threading.Condition()
        self._packets = self._bytes = 0
        self.max_packets = self.max_bytes = 0

    def put(self, segment: Segment | End, deadline: Deadline, tick: Tick) -> None:
        """Append, waiting for room. Raises DeadlineExceeded and what `tick` raises."""
        count, size = (segment.count, len(segment.payload)) if isinstance(segment, Segment) else (0, 0)
        with self._changed:
            while self._segments and (
                self._packets + count > self._limit_packets or self._bytes + size > self._limit_bytes
            ):
                tick()
                deadline.check("room in st_q_in")
                self._changed.wait(TICK_NS / 1e9)
            self._segments.append(segment)
            self._packets += count
            self._bytes += size
            self.max_packets = max(self.max_packets, self._packets)
            self.max_bytes = max(self.max_bytes, self._bytes)
            self._changed.notify_all()

    def take_ready(self) -> Segment | End | None:
        """The next segment, or None where the queue is empty."""
        with self._changed:
            return self._pop()

    def take(self, deadline: Deadline, tick: Tick) -> Segment | End:
        """The next segment, waiting for it. Raises DeadlineExceeded and what `tick` raises."""
        with self._changed:
            while (segment := self._pop()) is None:
                tick()
                deadline.check("next statelet segment")
                self._changed.wait(TICK_NS / 1e9)
            return segment

    def _pop(self) -> Segment | End | None:
        if not self._segments:
            return None
        segment = self._segments.popleft()
        if isinstance(segment, Segment):
            self._packets -= segment.count
            self._bytes -= len(segment.payload)
        self._changed.notify_all()
        return segment
