"""Types of profile fields that carry a unit: text in TOML, integers (bit/s, ns, bytes) in Python, text again out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BeforeValidator, PlainSerializer

from harness.units import (
    format_rate,
    format_size,
    format_time,
    parse_load,
    parse_rate,
    parse_size,
    parse_time,
)

NS_PER_HOUR = 3_600_000_000_000
HEADER_BYTES = 42
"""Ethernet 14, IPv4 20 and UDP 8 bytes: a frame size counts them."""
PAYLOAD_HEADER_BYTES = 32
"""What the load generator writes into every payload: cell tag, numbers and the intended send time."""
MIN_FRAME_BYTES = HEADER_BYTES + PAYLOAD_HEADER_BYTES
MAX_FRAME_BYTES = 1514
MAX_RATE_BPS = 1_000_000_000_000

_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,12})?) ?%", re.ASCII)

Parse = Callable[[object], int]
Format = Callable[[int], str]


def _bounded(parse: Parse, shown: Format, minimum: int, maximum: int, why: str = "") -> Callable[[object], int]:
    def validate(value: object) -> int:
        number = parse(value)
        if not minimum <= number <= maximum:
            bounds = f"must be between {shown(minimum)} and {shown(maximum)}"
            raise ValueError(f"{value!r} is out of range: {bounds}{why}")
        return number

    return validate


def _snapshot_rate(value: object) -> object:
    if value in ("auto", "unlimited"):
        return value
    try:
        return _bounded(parse_rate, format_rate, 1, MAX_RATE_BPS)(value)
    except ValueError as error:
        raise ValueError(f'{error}; or "auto", or "unlimited"') from None


def _show_snapshot_rate(value: int | str) -> str:
    return value if isinstance(value, str) else format_rate(value)


Rate = Annotated[int, BeforeValidator(_bounded(parse_rate, format_rate, 1, MAX_RATE_BPS)), PlainSerializer(format_rate)]
"""A link rate in bit/s."""

OfferedLoad = Annotated[
    int, BeforeValidator(_bounded(parse_load, format_rate, 1, MAX_RATE_BPS)), PlainSerializer(format_rate)
]
"""Bit/s of both directions through the VNF together."""

Time = Annotated[int, BeforeValidator(_bounded(parse_time, format_time, 0, NS_PER_HOUR)), PlainSerializer(format_time)]
"""A time in ns, zero allowed."""

PositiveTime = Annotated[
    int, BeforeValidator(_bounded(parse_time, format_time, 1, NS_PER_HOUR)), PlainSerializer(format_time)
]
"""A time in ns, more than zero."""

Size = Annotated[int, BeforeValidator(_bounded(parse_size, format_size, 0, 2**40)), PlainSerializer(format_size)]
"""A size in bytes, zero allowed."""

FrameSize = Annotated[
    int,
    BeforeValidator(
        _bounded(
            parse_size,
            format_size,
            MIN_FRAME_BYTES,
            MAX_FRAME_BYTES,
            f" ({HEADER_BYTES} header bytes, {PAYLOAD_HEADER_BYTES} bytes of tag, numbers and timestamp, filler)",
        )
    ),
    PlainSerializer(format_size),
]
"""Bytes of a frame with its 42 header bytes (Ethernet, IPv4, UDP; without preamble and checksum)."""

SnapshotRate = Annotated[
    int | Literal["auto", "unlimited"], BeforeValidator(_snapshot_rate), PlainSerializer(_show_snapshot_rate)
]
"""Bit/s of the snapshot stream, or how to choose them."""


def _probability(value: object) -> float:
    if isinstance(value, str) and (match := _PERCENT.fullmatch(value)):
        number = float(match[1]) / 100
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    else:
        raise ValueError(f'{value!r:.60} is no probability: a number from 0 to 1, or a share such as "0.1%"')
    if not 0.0 <= number <= 1.0:  # false for NaN, too
        raise ValueError(f'{value!r:.60} is out of range: a probability is a number from 0 to 1, or "0%" to "100%"')
    return number


Probability = Annotated[float, BeforeValidator(_probability)]
"""From 0 to 1; text with a percent sign is a hundredth of it."""
