"""One way to compile for the whole packet path, and where the compiled code is kept.

Numba's file cache notices an edit of the file a function stands in, but not of the files it calls into. The cache
directory is therefore named by a digest of every source file that is compiled (packet path and images), so that an
edit anywhere leads to a fresh directory instead of stale machine code.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Int = Any
"""Type of integers in compiled code: a Python int uncompiled, an int64 once compiled."""

F = TypeVar("F", bound=Callable[..., Any])

SOURCES = Path(__file__).resolve().parents[2]
COMPILED_PACKAGES = ("harness/dataplane", "vnf_images", "loadgen")


def source_digest() -> str:
    """Hex digest over the compiled packages' sources."""
    digest = hashlib.sha256()
    for package in COMPILED_PACKAGES:
        for path in sorted((SOURCES / package).rglob("*.py")):
            digest.update(path.relative_to(SOURCES).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_directory() -> Path:
    """Directory of the compiled code; NUMBA_CACHE_DIR overrides, as Numba's users expect."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return Path(given)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kind = "bounds" if os.environ.get("NUMBA_BOUNDSCHECK") == "1" else "plain"
    return base / "slim-harness" / "numba" / f"{source_digest()}-{kind}"


def _configure() -> None:
    from numba import config

    config.CACHE_DIR = str(cache_directory())


_configure()

from numba import cfunc, config, njit  # noqa: E402  (the cache directory must be set before anything is compiled)

JIT_DISABLED: bool = bool(config.DISABLE_JIT)


def compiled(function: F) -> F:
    """Compile `function` for the hot path: without the interpreter lock, cached on disk, and without reference counts.

    Numba counts references of every array a function is given; for a function that takes the engine's memory (some
    forty arrays) that alone cost 270 ns a call. Without counts nothing can be allocated either: code that would is
    refused when it is compiled. Plain Python under NUMBA_DISABLE_JIT=1.
    """
    return njit(function, cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[no-any-return]


def compiled_with_addresses(function: F) -> F:
    """Like `compiled` with reference counts, which taking an array's address needs: for what is called once a burst."""
    # Said explicitly: a function compiled on behalf of another inherits that one's setting.
    return njit(function, cache=True, nogil=True, error_model="numpy", _nrt=True)  # type: ignore[no-any-return]


def compiled_as(signature: Any, addresses: bool = False) -> Callable[[F], F]:
    """Like `compiled` (or `compiled_with_addresses`), for one explicit signature: compiled at import, so that a caller
    never waits for it."""

    def decorate(function: F) -> F:
        return njit(signature, cache=True, nogil=True, error_model="numpy", _nrt=addresses)(function)  # type: ignore[no-any-return]

    return decorate


def vnf_function(signature: Any) -> Callable[[F], F]:
    """Compile a function of an image as a first-class function, which one engine loop takes as an argument."""

    def decorate(function: F) -> F:
        if JIT_DISABLED:
            return function
        return cfunc(signature, cache=True, nopython=True, _nrt=False)(function)  # type: ignore[no-any-return]

    return decorate
