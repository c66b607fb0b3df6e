"""What the NAT follows of a TCP session (RFC 5382 REQ-2 and REQ-5; RFC 7857 section 2 for the closing states)."""

from __future__ import annotations

from harness.dataplane.jit import compiled
from harness.dataplane.wire import tcp
from harness.dataplane.wire.octets import Number

SYN_OUT = 1
SYN_IN = 2
FIN_OUT = 4
FIN_IN = 8
RESET = 16
STATES = 32


@compiled
def is_closing(state: Number) -> bool:
    """Both sides have finished, or one has reset."""
    return bool(state & RESET != 0 or state & (FIN_OUT | FIN_IN) == FIN_OUT | FIN_IN)


@compiled
def is_established(state: Number) -> bool:
    """Both sides have sent a SYN and the session is not closing."""
    return bool(state & (SYN_OUT | SYN_IN) == SYN_OUT | SYN_IN and not is_closing(state))


@compiled
def opens(flags: Number) -> bool:
    """Whether a segment asks for a new session: SYN without ACK."""
    return bool(flags & (tcp.SYN | tcp.ACK) == tcp.SYN)


@compiled
def next_state(state: Number, flags: Number, data_bytes: Number, outbound: bool) -> Number:
    """State after a segment.

    A SYN from inside reopens a closing session. Data after a reset shows that the reset was not accepted (RFC 7857
    section 2.2) and takes it back.
    """
    if outbound and opens(flags) and is_closing(state):
        return SYN_OUT
    if flags & tcp.RST:
        return state | RESET
    if data_bytes > 0:
        state &= ~RESET
    if flags & tcp.SYN:
        state |= SYN_OUT if outbound else SYN_IN
    if flags & tcp.FIN:
        state |= FIN_OUT if outbound else FIN_IN
    return state


@compiled
def next_expiry(
    state: Number, following: Number, expiry: Number, now: Number, established: Number, transitory: Number
) -> Number:
    """When the session expires after a segment took it from `state` to `following`; all in deciseconds.

    Segments of a session that is already closing do not keep it alive.
    """
    if is_closing(state) and is_closing(following):
        return expiry
    return (now + (established if is_established(following) else transitory)) & 0xFFFFFFFF
