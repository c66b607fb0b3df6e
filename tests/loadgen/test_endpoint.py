from __future__ import annotations

import socket
import threading

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from loadgen import endpoint
from loadgen.endpoint import unread_packets

IPV4 = bytes(Ether() / IP() / UDP())


@pytest.fixture
def ends() -> tuple[socket.socket, socket.socket]:
    sending, receiving = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiving.setblocking(False)
    return sending, receiving


def test_what_waits_and_what_still_comes_is_counted_until_there_is_silence(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    sending, receiving = ends
    for frame in (IPV4, bytes(Ether() / ARP()), IPV4, b"short"):
        sending.send(frame)
    later = threading.Timer(0.05, sending.send, (IPV4,))
    later.start()
    assert unread_packets(receiving, silence_s=1.0) == 3
    assert unread_packets(receiving, silence_s=0.01) == 0


def test_an_endless_stream_is_left_in_time(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "UNREAD_FOR_S", 0.05)
    sending, receiving = ends
    over = threading.Event()

    def flood() -> None:
        sending.settimeout(1.0)
        while not over.is_set():
            try:
                sending.send(IPV4)
            except TimeoutError:
                return

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        assert unread_packets(receiving, silence_s=1.0) > 0
    finally:
        over.set()
        thread.join()
