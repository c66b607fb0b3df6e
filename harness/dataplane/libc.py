"""The system calls of the packet path, callable from compiled code.

`ExternalFunction` keeps the callers cacheable on disk, which a ctypes pointer does not. Uncompiled
(NUMBA_DISABLE_JIT=1) the same names go through ctypes. Pointers are passed as integer addresses;
struct layouts are those of 64-bit Linux.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numba import carray, types
from numba.core.types import ExternalFunction

from harness.dataplane.jit import JIT_DISABLED, Int, compiled_with_addresses

_i32, _u32, _ptr = types.int32, types.uint32, types.intp

_SIGNATURES: dict[str, Any] = {
    "recvmmsg": _i32(_i32, _ptr, _u32, _i32, _ptr),
    "sendmmsg": _i32(_i32, _ptr, _u32, _i32),
    "ppoll": _i32(_ptr, types.uint64, _ptr, _ptr),
    "clock_gettime": _i32(_i32, _ptr),
    "clock_nanosleep": _i32(_i32, _i32, _ptr, _ptr),
    "read": types.int64(_i32, _ptr, types.uint64),
    "__errno_location": types.CPointer(_i32)(),
}


def _bind(name: str) -> Any:
    if not JIT_DISABLED:
        return ExternalFunction(name, _SIGNATURES[name])
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    pointer_or_int = {_i32: ctypes.c_int32, _u32: ctypes.c_uint32, types.uint64: ctypes.c_uint64}
    function.argtypes = [pointer_or_int.get(a, ctypes.c_void_p) for a in _SIGNATURES[name].args]
    returned = _SIGNATURES[name].return_type
    function.restype = {types.int64: ctypes.c_int64, _i32: ctypes.c_int32}.get(returned, ctypes.POINTER(ctypes.c_int32))
    return lambda *arguments: function(*(int(argument) for argument in arguments))


recvmmsg = _bind("recvmmsg")
sendmmsg = _bind("sendmmsg")
ppoll = _bind("ppoll")
clock_gettime = _bind("clock_gettime")
clock_nanosleep = _bind("clock_nanosleep")
read = _bind("read")
_errno_location = _bind("__errno_location")

CLOCK_REALTIME = 0
CLOCK_MONOTONIC = 1
MSG_DONTWAIT = 0x40
ENOBUFS = 105
NS_PER_S = 1_000_000_000


@compiled_with_addresses
def clock_ns(clock: Int, scratch: Any) -> Int:
    """Nanoseconds of `clock`; `scratch` is an int64[2] for the kernel to write into."""
    clock_gettime(clock, scratch.ctypes.data)
    return scratch[0] * 1_000_000_000 + scratch[1]


if JIT_DISABLED:

    def errno() -> Int:
        """The calling thread's errno."""
        return ctypes.get_errno()

else:

    @compiled_with_addresses
    def errno() -> Int:
        """The calling thread's errno."""
        return np.int64(carray(_errno_location(), 1)[0])


@compiled_with_addresses
def sleep_until_ns(deadline_ns: Int, scratch: Any) -> None:
    """Sleep until CLOCK_MONOTONIC reaches `deadline_ns`; a signal ends it early, which every caller tolerates."""
    scratch[0] = deadline_ns // 1_000_000_000
    scratch[1] = deadline_ns % 1_000_000_000
    clock_nanosleep(1, 1, scratch.ctypes.data, 0)


@compiled_with_addresses
def wait_readable(fd: Int, pause_ns: Int, scratch: Any) -> None:
    """Sleep until `fd` can be read, at most for `pause_ns`; `scratch` is an int64[3]: a timespec and a pollfd.

    A signal or an error of the descriptor ends it early, which every caller tolerates.
    """
    scratch[0] = pause_ns // 1_000_000_000
    scratch[1] = pause_ns % 1_000_000_000
    scratch[2] = np.int64(fd) | (np.int64(1) << 32)  # struct pollfd: the descriptor, then POLLIN
    ppoll(scratch.ctypes.data + 16, np.uint64(1), scratch.ctypes.data, 0)


def scratch_timespec() -> np.ndarray:
    """Memory for one timespec, int64[2]."""
    return np.zeros(2, np.int64)
