"""The echo of a capture load: every UDP and TCP packet to an echo address, whatever its port and payload."""

from __future__ import annotations

from typing import Any

from harness.dataplane.jit import compiled
from loadgen.capture_frames import KIND_AT, classify, numbered_payload, read_numbers, turn_into_reply
from loadgen.echoserver_record import is_echo_address, record_request
from loadgen.echoserver_state import ARP_PACKETS, BAD_CHECKSUM, FOREIGN, MALFORMED, MISDIRECTED
from loadgen.payload import ARP, KIND_REPLY, KIND_REQUEST, OURS
from loadgen.payload import BAD_CHECKSUM as BAD_CHECKSUM_FRAME
from loadgen.payload import FOREIGN as FOREIGN_FRAME
from loadgen.wire import ETHERNET_BYTES, IP_DESTINATION, IP_TOTAL_LENGTH, get16, get32

ANY_PACKET = 0
"""In the place of the echo port."""


@compiled
def serve_captured(frame: Any, frame_words: Any, length: int, run: int, identity: Any, record: Any, words: Any) -> int:
    """As loadgen.echoserver.serve_frame. Only a packet with our payload says which flow it is of."""
    kind = classify(frame, frame_words, length)
    if kind == OURS:
        if not is_echo_address(get32(frame, IP_DESTINATION), identity.echo):
            return -MISDIRECTED
        payload_at = numbered_payload(frame, run)
        if payload_at != 0:
            flow, _, _ = read_numbers(frame, payload_at)
            if frame[payload_at + KIND_AT] != KIND_REQUEST or flow >= record.packets.shape[0]:
                return -MISDIRECTED
            record_request(frame, flow, record, words)
        turn_into_reply(frame, payload_at, KIND_REPLY)
        return get16(frame, IP_TOTAL_LENGTH) + ETHERNET_BYTES
    if kind == ARP:
        return -ARP_PACKETS
    if kind == FOREIGN_FRAME:
        return -FOREIGN
    if kind == BAD_CHECKSUM_FRAME:
        return -BAD_CHECKSUM
    return -MALFORMED
