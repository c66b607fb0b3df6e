"""When a delay line wakes and what it hands on then: as exact as the frames are sparse, in ticks where they are dense.

A frame is handed on at its time, at most half a tick before it (`dataplane.tick`) and, while the CPU is free, at most
half a tick after it. Frames that lie close together go together, which costs one wake-up; as many come early as late,
so that the median of a link is its latency. The tick shrinks with the frames: where fewer than DENSE_FRAMES mature
in one, sleeping to each of them costs no more than ticking would.
"""

from __future__ import annotations

from typing import Any

from harness.dataplane.jit import Int, compiled
from harness.dataplane.libc import clock_ns, sleep_until_ns

DENSE_FRAMES = 4
"""Frames maturing within a tick from which the whole tick is used: 20,000 frames/s with one of 200 us."""
_LEAD_SHARE = 4
"""The lead is at most this part of a tick: what is woken later than that is a busy machine and no property of it."""
_LEAD_STEP_NS = 1_000


@compiled
def present_tick_ns(waiting: Int, latency_ns: Int, tick_ns: Int) -> Int:
    """The tick for a line of `latency_ns` in which `waiting` frames wait (their rate is waiting / latency)."""
    if latency_ns <= 0:
        return tick_ns
    maturing = waiting * tick_ns / latency_ns
    if maturing >= DENSE_FRAMES:
        return tick_ns
    return int(tick_ns * maturing / DENSE_FRAMES)


@compiled
def ahead_ns(present_ns: Int, lead_ns: Int, latency_ns: Int) -> Int:
    """How far ahead of its time a frame may be handed on: half of the present tick, or the lead of the wake-ups; of a
    short latency never more than an eighth."""
    return min(max(present_ns // 2, lead_ns), latency_ns // 8)


@compiled
def moved_lead_ns(lead_ns: Int, took_ns: Int, tick_ns: Int) -> Int:
    """The lead after a wake-up that took `took_ns`: one step towards that."""
    if took_ns > lead_ns:
        return min(lead_ns + _LEAD_STEP_NS, tick_ns // _LEAD_SHARE)
    return max(lead_ns - _LEAD_STEP_NS, 0)


@compiled
def sleep_towards_ns(deadline_ns: Int, lead: Any, at: Int, tick_ns: Int, scratch: Any) -> None:
    """Sleep so that the thread runs at `deadline_ns`, as often before it as after it.

    A sleeping CPU takes tens of microseconds to wake up, always in the same direction. `lead[at]` (int64) is the median
    of what it took so far: every wake-up moves it by one step towards its own.
    """
    target_ns = deadline_ns - lead[at]
    if target_ns <= clock_ns(1, scratch):
        return
    sleep_until_ns(target_ns, scratch)
    lead[at] = moved_lead_ns(lead[at], clock_ns(1, scratch) - target_ns, tick_ns)
