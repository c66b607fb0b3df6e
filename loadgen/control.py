"""Words that steer a loop from outside: int64[CONTROL_WORDS], looked at between two bursts."""

from __future__ import annotations

STOP, START_NS, REPEAT_ANNOUNCEMENTS = 0, 1, 2
"""STOP: 1 ends the loop. START_NS: when the load starts (CLOCK_MONOTONIC), 0 until that is known. REPEAT_ANNOUNCEMENTS:
1 where subscribers announce a cell until a packet came back from it."""
CONTROL_WORDS = 8
