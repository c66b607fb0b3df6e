"""Ordering of memory accesses between the dataplane thread and the threads beside it.

x86 keeps stores in order, but the compiler need not, and other machines do not. A producer stores its data, then
`release_fence()`, then the index; a consumer loads the index, then `acquire_fence()`, then the data.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from harness.dataplane.jit import JIT_DISABLED

if JIT_DISABLED:

    def release_fence() -> None:
        """Uncompiled, the interpreter lock orders everything."""

    def acquire_fence() -> None:
        """Uncompiled, the interpreter lock orders everything."""

else:

    def _fence(ordering: str) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            builder.fence(ordering)
            return context.get_dummy_value()

        return generate

    @intrinsic  # type: ignore[untyped-decorator]
    def release_fence(typing_context: Any) -> Any:
        """Earlier stores are visible before later ones."""
        return types.void(), _fence("release")

    @intrinsic  # type: ignore[untyped-decorator]
    def acquire_fence(typing_context: Any) -> Any:
        """Later loads do not happen before earlier ones."""
        return types.void(), _fence("acquire")
