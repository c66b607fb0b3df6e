from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import EDecimal, PcapNgWriter, PcapWriter

from harness.errors import UsageError
from loadgen.capture_file import read_capture
from tests.loadgen.frames import ether

FRAMES = [bytes(ether() / IP(src="192.0.2.1") / UDP(sport=1000 + i, dport=53) / bytes(10 * i)) for i in range(5)]
TIMES_NS = [1_700_000_000_000_000_000 + 1_234_567_000 * i for i in range(5)]


def write(path: Path, writer: type = PcapWriter, **options: Any) -> Path:
    with writer(str(path), **options) as file:
        for time_ns, data in zip(TIMES_NS, FRAMES, strict=True):
            packet = Ether(data)
            packet.time = EDecimal(time_ns) / EDecimal(10**9)
            file.write(packet)
    return path


@pytest.mark.parametrize("options", [{}, {"endianness": "<"}, {"endianness": ">"}, {"nano": True}])
def test_a_pcap_file_is_read_in_both_byte_orders_and_resolutions(tmp_path: Path, options: dict[str, Any]) -> None:
    frames = list(read_capture(write(tmp_path / "x.pcap", **options)))
    assert [frame.data for frame in frames] == FRAMES
    assert [frame.time_ns for frame in frames] == TIMES_NS
    assert [frame.frame_bytes for frame in frames] == [len(data) for data in FRAMES]
    assert {frame.link_type for frame in frames} == {1}


def block(order: str, kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack(f"{order}II", kind, length) + body + struct.pack(f"{order}I", length)


def pcapng(order: str = "<", options: bytes = b"", ticks: int = 5, extra: bytes = b"") -> bytes:
    section = block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = block(order, 1, struct.pack(f"{order}HHI", 101, 0, 0) + options)
    packet = struct.pack(f"{order}IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, 3, 9) + b"abc\0"
    return section + interface + extra + block(order, 0xBAD, b"????") + block(order, 6, packet)


def test_a_pcapng_file_of_another_program_is_read(tmp_path: Path) -> None:
    frames = list(read_capture(write(tmp_path / "x.pcapng", PcapNgWriter)))
    assert [frame.data for frame in frames] == FRAMES
    assert all(abs(frame.time_ns - ns) < 1000 for frame, ns in zip(frames, TIMES_NS, strict=True))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("option", "time_ns"),
    [
        (b"", 2**33 * 1000),
        ((9, b"\x09"), 2**33),
        ((9, b"\x8a"), 2**33 * 10**9 // 1024),
        ((14, 7), 2**33 * 1000 + 7 * 10**9),
    ],
)
def test_the_resolution_and_offset_of_an_interface_count(tmp_path: Path, order: str, option: Any, time_ns: int) -> None:
    encoded = b""
    if option:
        code, value = option
        value = struct.pack(f"{order}q", value) if isinstance(value, int) else value
        encoded = struct.pack(f"{order}HH", code, len(value)) + value.ljust((len(value) + 3) // 4 * 4, b"\0")
    path = tmp_path / "x.pcapng"
    path.write_bytes(pcapng(order, encoded, 2**33) * 2)
    frames = list(read_capture(path))
    assert [tuple(frame) for frame in frames] == [(time_ns, 101, 9, b"abc")] * 2


PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "neither pcap nor pcapng"),
        (b"\x7fELF" + bytes(100), "neither pcap nor pcapng"),
        (b"\x1f\x8b\x08\x00" + bytes(100), "compressed (gzip)"),
        (PCAP_HEADER[:20], "ends within the record after 0 frames"),
        (PCAP_HEADER + struct.pack("<IIII", 1, 0, 20, 20) + bytes(19), "ends within the record after 0 frames"),
        (PCAP_HEADER + struct.pack("<IIII", 1, 0, 4, 4) + bytes(12), "ends within the record after 1 frames"),
        (PCAP_HEADER + struct.pack("<IIII", 1, 0, 2**31, 2**31), "claims 2147483648 stored"),
        (PCAP_HEADER + struct.pack("<IIII", 1, 0, 20, 19) + bytes(20), "claims 20 stored of 19 bytes"),
        (PCAP_HEADER + struct.pack("<IIII", 1, 1_000_000, 2, 2) + bytes(2), "impossible time"),
        (PCAP_HEADER.replace(b"\x02\x00\x04", b"\x03\x00\x04"), "version 3.4"),
        (pcapng()[:-1], "ends within the record after 0 frames"),
        (pcapng()[:8] + b"\xff\xff\xff\xff" + pcapng()[12:], "without a byte order"),
        (pcapng(extra=struct.pack("<II", 1, 13)), "a block of 13 bytes"),
        (pcapng(extra=struct.pack("<II", 1, 2**31)), "a block of 2147483648 bytes"),
        (pcapng(extra=block("<", 3, bytes(8))), "has no time"),
        (pcapng(extra=block("<", 6, struct.pack("<IIIII", 1, 0, 0, 0, 0))), "interface 1 that is not described"),
        (pcapng(extra=block("<", 6, struct.pack("<IIIII", 0, 0, 0, 9, 9))), "claims 9 stored of 9"),
        (pcapng(extra=block("<", 6, bytes(8))), "no header"),
        (pcapng(options=struct.pack("<HHq", 14, 8, -(2**62))), "impossible time"),
        (pcapng(extra=block("<", 1, bytes(12))[:-4] + bytes(4)), "lengths of a block differ"),
    ],
)
def test_a_damaged_file_is_one_line_with_its_path(tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        list(read_capture(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent.pcap", "."])
def test_what_is_not_a_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"not a file|No such file"):
        list(read_capture(tmp_path / name))


@settings(max_examples=150)
@given(st.booleans(), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6), st.integers(0, 400))
def test_whatever_the_bytes_are_there_are_frames_or_one_line(
    tmp_path: Path, is_ng: bool, changes: list[tuple[int, int]], end: int
) -> None:
    whole = io.BytesIO()
    whole.write(pcapng() * 3 if is_ng else PCAP_HEADER + (struct.pack("<IIII", 1, 0, 4, 4) + bytes(4)) * 8)
    data = bytearray(whole.getvalue()[: len(whole.getvalue()) - end % 40])
    for at, value in changes:
        data[at % len(data)] = value
    path = tmp_path / "x.pcap"
    path.write_bytes(data)
    with contextlib.suppress(UsageError):
        for frame in read_capture(path):
            assert len(frame.data) <= frame.frame_bytes
