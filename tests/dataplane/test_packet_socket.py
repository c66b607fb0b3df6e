"""The filter of a port, run by a small interpreter of classic BPF against frames scapy built."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from harness.dataplane.packet_socket import PortOptions, filter_program, mac_bytes

MAC = "02:00:00:00:01:00"


def accepts(program: list[tuple[int, int, int, int]], frame: bytes) -> bool:
    """Classic BPF: loads beyond the packet refuse it, as in the kernel."""
    accumulator = position = 0
    while True:
        code, if_true, if_false, k = program[position]
        position += 1
        if code in (0x20, 0x28):
            size = 4 if code == 0x20 else 2
            if k + size > len(frame):
                return False
            accumulator = int.from_bytes(frame[k : k + size], "big")
        elif code == 0x15:
            position += if_true if accumulator == k else if_false
        elif code == 0x06:
            return k != 0
        else:
            raise AssertionError(f"opcode {code:#x}")


def options(**more: object) -> PortOptions:
    return PortOptions("up0", mac_bytes(MAC), **more)  # type: ignore[arg-type]


UNICAST = bytes(Ether(dst=MAC) / IP() / UDP())
OTHER = bytes(Ether(dst="02:00:00:00:01:01") / IP() / UDP())
BROADCAST = bytes(Ether(dst="ff:ff:ff:ff:ff:ff") / IP() / UDP())
WHO_HAS_US = bytes(Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(pdst="10.1.0.1"))
WHO_HAS_OTHER = bytes(Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(pdst="10.1.0.2"))
NEARLY = bytes(Ether(dst="02:00:00:00:02:00") / IP() / UDP())


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (PortOptions("up0", None), [True] * 6),
        (options(), [True, False, False, False, False, False]),
        (options(arp_address=bytes([10, 1, 0, 1])), [True, False, False, True, False, False]),
        (options(all_broadcast_arp=True), [True, False, False, True, True, False]),
    ],
)
def test_a_port_sees_its_own_frames_only(port: PortOptions, expected: list[bool]) -> None:
    program = filter_program(port)
    frames = [UNICAST, OTHER, BROADCAST, WHO_HAS_US, WHO_HAS_OTHER, NEARLY]
    assert [accepts(program, frame) for frame in frames] == expected


@pytest.mark.parametrize("length", range(14))
def test_a_truncated_frame_is_refused(length: int) -> None:
    frame = WHO_HAS_US[:length]
    assert not accepts(filter_program(options(arp_address=bytes([10, 1, 0, 1]))), frame)


@pytest.mark.parametrize("text", ["", "02:00:00:00:01", "02:00:00:00:01:zz", "02-00-00-00-01-00"])
def test_a_malformed_mac_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        mac_bytes(text)
